package deploy_test

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// builtImage is the image that the Dockerfile describes, made by running its own
// `go build` and laying out its own files.
type builtImage struct {
	root    string // its root file system
	context string // what it was built from
	build   string // the command that built it
	config  imageConfig
}

// mounted is where a builder keeps what it loads and compiles.
var mounted = regexp.MustCompile(`--mount=type=cache,\S+ +`)

// authorities is where Debian and Alpine both have them.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// buildImage makes the image in a directory. The files that its first stage takes
// from the Go image are this machine's.
func buildImage(dir string) (builtImage, error) {
	stages, args, err := readDockerfile("Dockerfile")
	if err != nil {
		return builtImage{}, err
	}
	args["VERSION"], args["REVISION"] = testVersion, "0123456"
	config, err := stages[1].configure(args)
	if err != nil {
		return builtImage{}, err
	}
	ignore, err := readDockerignore(filepath.Join(top, ".dockerignore"))
	if err != nil {
		return builtImage{}, err
	}
	i := builtImage{root: filepath.Join(dir, "root"), context: filepath.Join(dir, "src"), config: config}
	for _, in := range stages[0].instructions {
		switch {
		case in.name == "COPY":
			err = copyContext(ignore, in.copied().sources, i.context)
		case in.name == "RUN" && strings.Contains(in.rest, " go build "):
			i.build = mounted.ReplaceAllString(in.rest, "")
			err = compile(i.build, i.context, dir)
		}
		if err != nil {
			return builtImage{}, err
		}
	}
	return i, i.layOut(ignore, stages[0].name, dir)
}

// compile runs the Dockerfile's command in the directory src, with out for its /out.
func compile(command, src, out string) error {
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, "/out/", out+"/out/"))
	cmd.Dir = src
	// Another GOFLAGS than the Go image's would make another binary.
	cmd.Env = append(os.Environ(), "VERSION="+testVersion, "TARGETOS=", "TARGETARCH=", "GOFLAGS=")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, output)
	}
	return nil
}

// layOut copies the image's files to its root.
func (i builtImage) layOut(ignore dockerignore, builder, dir string) error {
	for _, c := range i.config.copies {
		source := c.sources[0]
		mode := os.FileMode(0o644)
		switch {
		case len(c.sources) != 1:
			return fmt.Errorf("COPY %q: not understood", c.sources)
		case c.from == builder && strings.HasPrefix(source, "/out/"):
			source, mode = filepath.Join(dir, source), 0o755
		case c.from == builder && source == authorities:
			// A machine without them tests the rest.
			if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
				source = os.DevNull
			}
		case c.from == "" && ignore.holds(source):
			source = filepath.Join(top, source)
		default:
			return fmt.Errorf("COPY %s: the image's source is neither built nor in the context", source)
		}
		if err := copyFile(source, filepath.Join(i.root, c.to), mode); err != nil {
			return err
		}
	}
	return nil
}

// files returns the image's files, sorted.
func (i builtImage) files(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(i.root, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(file, i.root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestImageHoldsThreeFiles(t *testing.T) {
	want := []string{"/LICENSE", "/candado", authorities}
	if got := image.files(t); !slices.Equal(got, want) {
		t.Errorf("the image holds %q, want %q", got, want)
	}
}

func TestContextHoldsNothingThatIsNotCompiled(t *testing.T) {
	ignore, err := readDockerignore(filepath.Join(top, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".git/HEAD", "bench/go.mod", "deploy/Dockerfile", "bin/candado", "README.md",
		"cmd/candado/main_test.go", "cmd/candado/testdata/clients/node_modules/x/index.js"} {
		if ignore.holds(name) {
			t.Errorf("the context holds %s", name)
		}
	}
}

func TestBinaryIsStatic(t *testing.T) {
	file, err := elf.Open(image.binary())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a segment %v: it needs libraries that the image lacks", p.Type)
		}
	}
}

func TestSecondBuildElsewhereGivesTheSameBinary(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "another", "place")
	if err := os.CopyFS(src, os.DirFS(image.context)); err != nil {
		t.Fatal(err)
	}
	if err := compile(image.build, src, dir); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(image.binary())
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(dir, "out", "candado"))
	if err != nil {
		t.Fatal(err)
	}
	if string(first) != string(second) {
		t.Error("two builds of the same source differ")
	}
}

// TestImageIsBuiltAsMakeBuilds compares the flags of the two.
func TestImageIsBuiltAsMakeBuilds(t *testing.T) {
	makefile := read(t, filepath.Join(top, "Makefile"))
	flags := regexp.MustCompile(`(CGO_ENABLED=\d) .*build (?:-buildvcs=false )?(-trimpath) -ldflags ['"](.*)\$[({]VERSION[)}]['"]`)
	ofMake, ofImage := flags.FindStringSubmatch(makefile), flags.FindStringSubmatch(image.build)
	if ofMake == nil || ofImage == nil || !slices.Equal(ofMake[1:], ofImage[1:]) {
		t.Errorf("make builds with %q, the image with %q", ofMake, ofImage)
	}
}

// TestImageIsCompiledByAGoThatIsNewEnough: the Go image must not load another
// toolchain, and is to be of a whole version, for the binary to be the same again.
func TestImageIsCompiledByAGoThatIsNewEnough(t *testing.T) {
	_, args, err := readDockerfile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	least := regexp.MustCompile(`(?m)^go (\d+)\.(\d+)\.(\d+)$`).FindStringSubmatch(read(t, filepath.Join(top, "go.mod")))
	has := regexp.MustCompile(`^golang:(\d+)\.(\d+)\.(\d+)-`).FindStringSubmatch(args["GO_IMAGE"])
	if least == nil || has == nil {
		t.Fatalf("go.mod asks for %q, GO_IMAGE is %q: want whole versions of both", least, args["GO_IMAGE"])
	}
	if slices.CompareFunc(has[1:], least[1:], func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	}) < 0 {
		t.Errorf("go.mod asks for %q, GO_IMAGE is %q", least[0], args["GO_IMAGE"])
	}
}

func TestImageSaysWhatItIs(t *testing.T) {
	const prefix = "org.opencontainers.image."
	for key, want := range map[string]string{"title": "candado", "version": testVersion, "revision": "0123456", "licenses": "MIT",
		"source": "https://github.com/goodjobtech/candado"} {
		if got := image.config.labels[prefix+key]; got != want {
			t.Errorf("label %s is %q, want %q", key, got, want)
		}
	}
	if image.config.stopSignal != "SIGTERM" || image.config.user != "65532:65532" {
		t.Errorf("STOPSIGNAL %s, USER %s", image.config.stopSignal, image.config.user)
	}
}

// TestImageListensOnThePortsThatItExposes: on every interface, and on the ports
// of the defaults.
func TestImageListensOnThePortsThatItExposes(t *testing.T) {
	for i, name := range []string{"CANDADO_LISTEN", "CANDADO_HTTP"} {
		_, port, err := net.SplitHostPort(defaultOf(t, name))
		if err != nil {
			t.Fatal(err)
		}
		if want := name + "=:" + port; !slices.Contains(image.config.env, want) {
			t.Errorf("the image's environment is %q, without %s", image.config.env, want)
		}
		if len(image.config.ports) != 2 || image.config.ports[i] != port {
			t.Errorf("EXPOSE %q; want %s at %d", image.config.ports, port, i)
		}
	}
}

func TestHealthcheckMayTakeAsLongAsItsOwnTimeout(t *testing.T) {
	source := read(t, filepath.Join(top, "cmd", "candado", "healthcheck.go"))
	own := regexp.MustCompile(`healthcheckTimeout = (\d+) \* time\.Second`).FindStringSubmatch(source)
	if own == nil {
		t.Fatal("healthcheck.go does not say how long it asks")
	}
	if most := mustSeconds(t, image.config.healthcheckOptions["--timeout"]); most <= mustSeconds(t, own[1]) {
		t.Errorf("the image gives the health check %v, and it may take %ss", most, own[1])
	}
}
