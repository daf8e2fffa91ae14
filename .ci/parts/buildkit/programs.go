//go:build parts

// Package parts names the programs that set-up builds, so that go.mod and go.sum pin and checksum all they need.
package parts

import (
	_ "github.com/moby/buildkit/cmd/buildctl"
	_ "github.com/moby/buildkit/cmd/buildkitd"
)
