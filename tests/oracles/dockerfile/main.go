// Answers, for each JSON case on a line of stdin, what BuildKit's own Dockerfile frontend asks its surroundings for:
// the images whose configuration it resolves (a named context of kind docker-image counts as one), or an error with
// the line that it points to; what is refused only when a stage is turned into a build (dispatch) included.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"sort"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	fstypes "github.com/tonistiigi/fsutil/types"
)

type question struct {
	Dockerfile string            `json:"dockerfile"`
	Target     string            `json:"target"`
	Args       map[string]string `json:"args"`
	Platform   string            `json:"platform"`
	Builder    string            `json:"builder"`
	Contexts   []string          `json:"contexts"`
}

type answer struct {
	Error    string   `json:"error,omitempty"`
	Line     int      `json:"line,omitempty"`
	Images   []string `json:"images"`
	Frontend *string  `json:"frontend"`
	Sources  []string `json:"sources"`
}

// recorder stands in for the daemon. Every image it is asked for is an empty one.
type recorder struct {
	client.Client
	opts   map[string]string
	worker ocispecs.Platform
	mu     sync.Mutex
	asked  map[string]struct{}
}

func (r *recorder) BuildOpts() client.BuildOpts {
	caps := pb.Caps.CapSet(pb.Caps.All())
	return client.BuildOpts{
		Opts:    r.opts,
		Workers: []client.WorkerInfo{{Platforms: []ocispecs.Platform{r.worker}}},
		LLBCaps: caps,
		Caps:    gwpb.Caps.CapSet(gwpb.Caps.All()),
	}
}

func (r *recorder) Inputs(context.Context) (map[string]llb.State, error) { return nil, nil }

func (r *recorder) Solve(context.Context, client.SolveRequest) (*client.Result, error) {
	res := client.NewResult()
	res.SetRef(noFiles{})
	return res, nil
}

type noFiles struct{ client.Reference }

func (noFiles) ReadFile(context.Context, client.ReadRequest) ([]byte, error) {
	return nil, os.ErrNotExist
}

func (noFiles) StatFile(context.Context, client.StatRequest) (*fstypes.Stat, error) {
	return nil, os.ErrNotExist
}

func (r *recorder) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	platform := ""
	if opt.ImageOpt != nil && opt.ImageOpt.Platform != nil {
		platform = platforms.FormatAll(platforms.Normalize(*opt.ImageOpt.Platform))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[ref+" "+platform] = struct{}{}
	config, err := json.Marshal(ocispecs.Image{
		Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		RootFS:   ocispecs.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString(ref)}},
	})
	return ref, digest.FromString(ref), config, err
}

func ask(q question) (answer, error) {
	a := answer{Images: []string{}, Sources: []string{}}
	content, err := base64.StdEncoding.DecodeString(q.Dockerfile)
	if err != nil {
		return a, err
	}
	if frontend, _, _, ok := parser.DetectSyntax(content); ok {
		a.Frontend = &frontend
	}
	opts := map[string]string{"platform": q.Platform, "target": q.Target}
	for name, value := range q.Args {
		opts["build-arg:"+name] = value
	}
	for _, key := range q.Contexts {
		opts["context:"+key] = "docker-image://context.invalid/c" + hex(key)
	}
	worker, err := platforms.Parse(q.Builder)
	if err != nil {
		return a, err
	}
	r := &recorder{opts: opts, worker: platforms.Normalize(worker), asked: map[string]struct{}{}}
	ui, err := dockerui.NewClient(r)
	if err != nil {
		return a, err
	}
	if len(ui.TargetPlatforms) != 1 {
		return a, errors.New("one platform, please")
	}
	result, err := dockerfile2llb.Dockerfile2LLB(context.Background(), content, dockerfile2llb.ConvertOpt{
		Config:         ui.Config,
		Client:         ui,
		TargetPlatform: &ui.TargetPlatforms[0],
		MetaResolver:   r,
	})
	if err != nil {
		return a, err
	}
	for image := range r.asked {
		a.Images = append(a.Images, image)
	}
	sort.Strings(a.Images)
	a.Sources, err = sources(result.State)
	return a, err
}

// sources are the identifiers of the git and http sources that the build would fetch.
func sources(state llb.State) ([]string, error) {
	found := map[string]struct{}{}
	definition, err := state.Marshal(context.Background())
	if err != nil {
		return nil, err
	}
	for _, dt := range definition.Def {
		var op pb.Op
		if err := op.Unmarshal(dt); err != nil {
			return nil, err
		}
		if source := op.GetSource(); source != nil {
			id := source.Identifier
			if strings.HasPrefix(id, "git://") || strings.HasPrefix(id, "http://") || strings.HasPrefix(id, "https://") {
				found[id] = struct{}{}
			}
		}
	}
	list := make([]string, 0, len(found))
	for id := range found {
		list = append(list, id)
	}
	sort.Strings(list)
	return list, nil
}

// line is where the error points, 0 if it does not say.
func line(err error) int {
	var located *parser.LocationError
	if !errors.As(err, &located) {
		return 0
	}
	for _, ranges := range located.Locations {
		for _, r := range ranges {
			return r.Start.Line
		}
	}
	return 0
}

func hex(text string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		b.WriteByte(digits[text[i]>>4])
		b.WriteByte(digits[text[i]&15])
	}
	return b.String()
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
		a, err := ask(q)
		if err != nil {
			a = answer{Error: err.Error(), Line: line(err), Frontend: a.Frontend}
		}
		if err := out.Encode(a); err != nil {
			panic(err)
		}
	}
	if err := in.Err(); err != nil {
		panic(err)
	}
}
