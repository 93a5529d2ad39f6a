package wechatopen_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The two READMEs are equal in structure and code, and their programs are those that CI builds.
func TestReadmesAgree(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	programs := map[int]string{ // by their place among the blocks of code
		1: "_example/minimal/main.go",
		4: "_example/own/main.go",
		5: "_example/durable/main.go",
		6: "_example/machines/main.go",
	}
	parts := map[int]string{ // of a program
		2: "_example/calls/calls.go",
		3: "_example/messages/bot.go",
	}
	blocks := regexp.MustCompile("(?s)```[a-z]*\n(.*?)```")
	comment := regexp.MustCompile(`(?m)\s*(//|#).*$`)
	shape := func(name string) (headings, rows int, code []string) {
		text := read(name)
		found := blocks.FindAllStringSubmatch(text, -1)
		for i, program := range programs {
			if len(found) <= i || found[i][1] != read(program) {
				t.Errorf("%s: block %d of code is not %s", name, i+1, program)
			}
		}
		for i, program := range parts {
			if len(found) <= i || !strings.Contains(read(program), found[i][1]) {
				t.Errorf("%s: block %d of code is not in %s", name, i+1, program)
			}
		}
		for _, b := range found {
			code = append(code, comment.ReplaceAllString(b[1], "")) // comments are in the language of the page
		}
		text = blocks.ReplaceAllString(text, "")
		return strings.Count(text, "\n## "), strings.Count(text, "\n|"), code
	}
	headings, rows, code := shape("README.md")
	headingsZH, rowsZH, codeZH := shape("README.zh-CN.md")
	if headings != headingsZH || rows != rowsZH || strings.Join(code, "\n") != strings.Join(codeZH, "\n") {
		t.Errorf("README.md has %d sections and %d rows, README.zh-CN.md %d and %d; or their code differs", headings, rows, headingsZH, rowsZH)
	}
	for _, command := range []string{"go run ./_example/quickstart", "go test work"} {
		if !strings.Contains(code[0], command) {
			t.Errorf("the first block of code lacks %q", command)
		}
	}
}
