//go:build tools

// Package tools names the programs, so that go.mod and go.sum pin all they need.
package tools

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
