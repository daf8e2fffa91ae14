//go:build parts

// Package oracle names the program that tests compare lian's readers with, so that go.mod and go.sum pin and checksum
// all it needs.
package oracle

import (
	_ "github.com/docker/buildx/cmd/buildx"
)
