//go:build tools

// Package tools names the programs, so that go.mod and go.sum pin all they need.
package tools

import (
	_ "github.com/opencontainers/runc"
)
