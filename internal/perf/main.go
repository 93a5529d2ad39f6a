// Command perf measures what docs/performance.md says and writes it anew, with its chart:
//
//	go run ./internal/perf
//
// It takes some minutes. Ratios hold on any machine; times are those of the machine that it runs on.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
)

//go:embed page.md
var pageTemplate string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) == 2 && os.Args[1] == serveArg {
		err = serve(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "perf:", err)
		os.Exit(1)
	}
}

// page is what page.md shows.
type page struct {
	Machine     string
	Costs       []cost
	Connections int
	Rounds      int
	Requests    int
	Load        []loadResult
	Curves      []curve
	Rows        []row // the same
	Cold        curve
	Memory      string // bytes of an account
}

func run(ctx context.Context, progress io.Writer) error {
	root, err := goTool(ctx, "list", "-m", "-f", "{{.Dir}}", "github.com/wechatopen/wechatopen")
	if err != nil {
		return err
	}
	docs := filepath.Join(strings.TrimSpace(root), "docs")
	p := page{Machine: machine(), Connections: connections, Rounds: 100, Requests: 2_000}

	fmt.Fprintln(progress, "costs beside their floors")
	out, err := goTool(ctx, "test", "-count=1", "-v", "-run", "^TestCostsStayUnderTheirBars$", "github.com/wechatopen/wechatopen")
	if err != nil {
		return err
	}
	if p.Costs = readCosts(out); len(p.Costs) == 0 {
		return errors.New("the test of the costs printed no table")
	}

	fmt.Fprintln(progress, "cost as work grows")
	out, err = goTool(ctx, "test", "-run", "^$", "-bench", "^Benchmark(Accounts|ColdToken)$", "-benchmem", "-count=3", "github.com/wechatopen/wechatopen")
	if err != nil {
		return err
	}
	p.Curves, p.Cold, p.Memory = readCurves(out)
	p.Rows = rowsOf(p.Curves)

	fmt.Fprintln(progress, "a server under load")
	if p.Load, err = load(ctx, p.Rounds, p.Requests); err != nil {
		return err
	}

	if err := os.WriteFile(filepath.Join(docs, "performance.svg"), chart(p.Curves), 0o644); err != nil {
		return err
	}
	var text strings.Builder
	if err := template.Must(template.New("").Parse(pageTemplate)).Execute(&text, p); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "performance.md"), []byte(text.String()), 0o644)
}

func goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return string(out), nil
}

// machine says on what was measured.
func machine() string {
	cpu := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "model name"); ok {
				cpu = strings.TrimLeft(name, "\t :")
				break
			}
		}
	}
	return fmt.Sprintf("%s, %s, %d processors", runtime.Version(), cpu, runtime.NumCPU())
}
