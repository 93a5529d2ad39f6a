package storetest_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/wechatopen/wechatopen/storetest"
)

// brokenVar names the Store or Locker that a child process runs the suite on.
const brokenVar = "STORETEST_BROKEN"

// TestSuiteNotices runs the suite on what is broken in one way each, in a child process, because it must fail there.
func TestSuiteNotices(t *testing.T) {
	type broken struct{ name, check string } // check is the sub-test that must fail
	var all []broken
	for _, s := range brokenStores {
		all = append(all, broken{s.name, s.check})
	}
	for _, d := range brokenDisks {
		all = append(all, broken{d.name, ""})
	}
	for _, l := range brokenLocks {
		all = append(all, broken{l.name, l.check})
	}
	children := make([]*child, len(all))
	slots := make(chan struct{}, 16) // most children wait for what does not happen
	for i, b := range all {
		children[i] = startChild(b.name, b.check, slots)
	}
	for i, b := range all {
		t.Run(b.name, func(t *testing.T) {
			c := children[i]
			<-c.done
			if c.err == nil || !strings.Contains(c.out, "--- FAIL: "+c.test+" ") {
				t.Errorf("%s did not fail (%v):\n%s", c.test, c.err, c.out)
			}
		})
	}
}

// child is a run of TestInChild; test is the full name of the test that it is to fail.
type child struct {
	test string
	done chan struct{} // closed when the fields below are set
	out  string
	err  error
}

func startChild(name, check string, slots chan struct{}) *child {
	c := &child{test: "TestInChild", done: make(chan struct{})}
	pattern := "^TestInChild$"
	if check != "" {
		check = strings.ReplaceAll(check, " ", "_")
		c.test += "/" + check
		pattern += "/^" + regexp.QuoteMeta(check) + "$"
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.count=1", "-test.run="+pattern)
	cmd.Env = append(os.Environ(), brokenVar+"="+name)
	go func() {
		defer close(c.done)
		slots <- struct{}{}
		out, err := cmd.CombinedOutput()
		c.out, c.err = string(out), err
		<-slots
	}()
	return c
}

// TestInChild is the child's side of TestSuiteNotices.
func TestInChild(t *testing.T) {
	name := os.Getenv(brokenVar)
	if name == "" {
		t.Skip("runs in the children of TestSuiteNotices")
	}
	for _, s := range brokenStores {
		if s.name == name {
			storetest.Store(t, s.open)
		}
	}
	for _, d := range brokenDisks {
		if d.name == name {
			storetest.Durable(t, openDurable(d.crash))
		}
	}
	for _, l := range brokenLocks {
		if l.name == name {
			storetest.Locker(t, openLocker(l.lock))
		}
	}
}
