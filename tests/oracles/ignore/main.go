// Answers, for each JSON case on a line of stdin, what BuildKit's own ignore code says: an error, or what is sent.
// The tree of a case is held in memory and walked by fsutil's filter, the code that a BuildKit client walks with.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	gofs "io/fs"
	"os"
	"sort"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// question: Ignore is the file's bytes and Paths the tree's files in base64 (names need not be UTF-8);
// a path that ends with / is a folder that may be empty.
type question struct {
	Ignore string   `json:"ignore"`
	Paths  []string `json:"paths"`
}

type answer struct {
	Error string   `json:"error,omitempty"`
	Sent  []string `json:"sent"`
}

type folder map[string]folder // nil is a file

type memory struct{ root folder }

func (m *memory) Open(string) (io.ReadCloser, error) { return nil, os.ErrNotExist }

func (m *memory) Walk(ctx context.Context, _ string, fn gofs.WalkDirFunc) error {
	return walk(m.root, "", fn)
}

func walk(dir folder, prefix string, fn gofs.WalkDirFunc) error {
	names := make([]string, 0, len(dir))
	for name := range dir {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		child := dir[name]
		stat := &types.Stat{Path: prefix + name, Mode: 0o644}
		if child != nil {
			stat.Mode = uint32(os.ModeDir) | 0o755
		}
		err := fn(stat.Path, &fsutil.DirEntryInfo{Stat: stat}, nil)
		if err == gofs.SkipDir && child != nil {
			continue
		}
		if err != nil {
			return err
		}
		if child != nil {
			if err := walk(child, prefix+name+"/", fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func tree(paths []string) (folder, error) {
	root := folder{}
	for _, encoded := range paths {
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, err
		}
		path := string(raw)
		isFolder := strings.HasSuffix(path, "/")
		parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
		here := root
		for i, part := range parts {
			if i == len(parts)-1 && !isFolder {
				here[part] = nil
				break
			}
			if here[part] == nil {
				here[part] = folder{}
			}
			here = here[part]
		}
	}
	return root, nil
}

func sent(q question) ([]string, error) {
	ignore, err := base64.StdEncoding.DecodeString(q.Ignore)
	if err != nil {
		return nil, err
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(ignore))
	if err != nil {
		return nil, err
	}
	if _, err := patternmatcher.New(patterns); err != nil { // the daemon's check, on the raw bytes
		return nil, err
	}
	overTheWire, err := json.Marshal(patterns)
	if err != nil {
		return nil, err
	}
	var received []string
	if err := json.Unmarshal(overTheWire, &received); err != nil {
		return nil, err
	}
	root, err := tree(q.Paths)
	if err != nil {
		return nil, err
	}
	filtered, err := fsutil.NewFilterFS(&memory{root}, &fsutil.FilterOpt{ExcludePatterns: received})
	if err != nil {
		return nil, err
	}
	found := []string{}
	err = filtered.Walk(context.Background(), "/", func(path string, entry gofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			path += "/"
		}
		found = append(found, base64.StdEncoding.EncodeToString([]byte(path)))
		return nil
	})
	return found, err
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			panic(err)
		}
		found, err := sent(q)
		a := answer{Sent: found}
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			panic(err)
		}
	}
	if err := in.Err(); err != nil {
		panic(err)
	}
}
