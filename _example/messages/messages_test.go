package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

func TestWalk(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-walk"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if lines := strings.Count(out.String(), "\n"); lines != 6 {
		t.Errorf("%d lines:\n%s", lines, out.String())
	}
}

// notify is a writer that tells what is written.
type notify chan<- string

func (n notify) Write(p []byte) (int, error) {
	n <- string(p)
	return len(p), nil
}

func TestPlayedByHandItShowsWhereTheConversationIs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written, ended := make(chan string, 10), make(chan error, 1)
	go func() { ended <- run(ctx, nil, notify(written)) }()
	select {
	case text := <-written:
		if !strings.Contains(text, "/wechatsim/chat?appid=wx") {
			t.Errorf("prints %q", text)
		}
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(30 * time.Second):
		t.Fatal("prints nothing")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
