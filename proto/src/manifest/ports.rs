//! Ports: each number stands for the other where one is missing, names are made where there is none.

use std::collections::BTreeSet;

use super::{
    Invalid, Port, Protocol,
    parse::{Checked, bounded},
    text::{is_port_name, quote},
};
use crate::{limits, v0::pod};

/// Names of ports are unique within the pod, and their numbers within the protocol: containers share one network address.
#[derive(Default)]
pub(super) struct PortsOfPod {
    names: BTreeSet<String>,
    ports: BTreeSet<(Protocol, u16)>,
    targets: BTreeSet<(Protocol, u16)>,
}

impl PortsOfPod {
    pub(super) fn parse(&mut self, list: &[pod::container::Port], field: &str) -> Checked<Vec<Port>> {
        bounded(list.len(), limits::PORTS_MAX, field)?;
        list.iter()
            .enumerate()
            .map(|(index, port)| self.one(port, &format!("{field}[{index}]")))
            .collect()
    }

    fn one(&mut self, given: &pod::container::Port, field: &str) -> Checked<Port> {
        let (port, target_port) = match (given.port, given.target_port) {
            (0, 0) => {
                return Err(Invalid::manifest(
                    format!("{field}.port"),
                    "no port is given; write port, targetPort or both, 1 to 65535",
                ));
            }
            (0, both) => {
                let number = port_number(both, &format!("{field}.targetPort"))?;
                (number, number)
            }
            (both, 0) => {
                let number = port_number(both, &format!("{field}.port"))?;
                (number, number)
            }
            (port, target) => (
                port_number(port, &format!("{field}.port"))?,
                port_number(target, &format!("{field}.targetPort"))?,
            ),
        };
        let (protocol, suffix) = match given.protocol() {
            pod::container::Protocol::Tcp => (Protocol::Tcp, ""),
            pod::container::Protocol::Udp => (Protocol::Udp, "-udp"),
        };
        let name = if given.name.is_empty() {
            format!("port-{port}{suffix}")
        } else {
            given.name.clone()
        };
        if name.len() > limits::PORT_NAME_MAX || !is_port_name(&name) {
            return Err(Invalid::manifest(
                format!("{field}.name"),
                format!(
                    "{} is not a port's name; write at most {} lowercase letters, digits and single `-` within, at least one letter",
                    quote(&name),
                    limits::PORT_NAME_MAX
                ),
            ));
        }
        let taken = |part: &str, what: String| {
            Invalid::manifest(
                format!("{field}.{part}"),
                format!("another port of the pod has {what} already; it must be unique"),
            )
        };
        if !self.ports.insert((protocol, port)) {
            return Err(taken("port", format!("port {port}")));
        }
        if !self.targets.insert((protocol, target_port)) {
            return Err(taken("targetPort", format!("targetPort {target_port}")));
        }
        if !self.names.insert(name.clone()) {
            return Err(taken("name", format!("the name {}", quote(&name))));
        }
        Ok(Port {
            name,
            port,
            target_port,
            protocol,
        })
    }
}

fn port_number(number: u64, field: &str) -> Checked<u16> {
    match u16::try_from(number) {
        Ok(port) if limits::PORT.contains(&number) => Ok(port),
        _ => Err(Invalid::manifest(
            field,
            format!(
                "{number} is not a port; write {} to {}",
                limits::PORT.start(),
                limits::PORT.end()
            ),
        )),
    }
}
