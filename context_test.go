package wechatopen_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
)

// What is derived from the context of Handle ends with it, for its reason, whether Handle, the time or nobody ended it.
func TestContextOfHandle(t *testing.T) {
	for name, tt := range map[string]struct {
		work, reply, takes time.Duration
		ended              time.Duration // when what listens hears of the end
		want               error
	}{
		"Handle returns":                  {time.Minute, 0, time.Second, time.Second, context.Canceled},
		"Handle returns late":             {time.Minute, 0, 10 * time.Second, 10 * time.Second, context.Canceled},
		"WorkTime is over":                {20 * time.Second, 0, time.Minute, 20 * time.Second, context.DeadlineExceeded},
		"WorkTime is over in time":        {time.Second, 0, 2 * time.Second, time.Second, context.DeadlineExceeded},
		"WorkTime and ReplyTime are over": {time.Second, time.Second, 2 * time.Second, time.Second, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			lateBubble(t, func(t *testing.T, s *lateSite) {
				s.h.WorkTime, s.h.ReplyTime = tt.work, tt.reply
				start := time.Now()
				type heard struct {
					who   string
					after time.Duration
					err   error
					cause error
				}
				ends := make(chan heard, 10)
				listen := func(who string, ctx context.Context) {
					go func() {
						<-ctx.Done()
						ends <- heard{who, time.Since(start), ctx.Err(), context.Cause(ctx)}
					}()
				}
				var own context.Context
				s.h.Handle = func(ctx context.Context, _ *wechatopen.Message) (wechatopen.Reply, error) {
					own = ctx
					if err := ctx.Err(); err != nil || context.Cause(ctx) != nil {
						t.Errorf("it begins with %v", err)
					}
					if end, ok := ctx.Deadline(); !ok || !end.Equal(start.Add(tt.work)) {
						t.Errorf("its deadline is %v", end.Sub(start))
					}
					child, cancel := context.WithCancel(ctx)
					listen("child", child)
					longer, cancelLonger := context.WithTimeout(ctx, time.Hour)
					listen("with a longer time", longer)
					gone, leave := context.WithCancel(ctx)
					leave()
					if gone.Err() == nil || ctx.Err() != nil {
						t.Error("a child ends its parent")
					}
					stopped := context.AfterFunc(ctx, func() { t.Error("called though it was stopped") })
					if !stopped() {
						t.Error("AfterFunc cannot be stopped")
					}
					context.AfterFunc(ctx, func() { ends <- heard{"AfterFunc", time.Since(start), ctx.Err(), context.Cause(ctx)} })
					listen("itself", ctx)
					time.Sleep(tt.takes)
					_, _ = cancel, cancelLonger // not called: they end by themselves
					return nil, nil
				}
				s.serve(s.textXML("hello"))
				pass(2 * time.Minute)
				if len(ends) != 4 {
					t.Fatalf("%d of 4 heard of the end", len(ends))
				}
				var who []string
				for range 4 {
					h := <-ends
					who = append(who, h.who)
					if h.after != tt.ended || !errors.Is(h.err, tt.want) || !errors.Is(h.cause, tt.want) {
						t.Errorf("%s ended after %v with %v, cause %v; want %v, %v", h.who, h.after, h.err, h.cause, tt.ended, tt.want)
					}
				}
				slices.Sort(who)
				if want := []string{"AfterFunc", "child", "itself", "with a longer time"}; !slices.Equal(who, want) {
					t.Errorf("%q heard of it", who)
				}
				// Who listens when it is over hears of it at once.
				listen("latecomer", own)
				synctest.Wait()
				if h := <-ends; !errors.Is(h.err, tt.want) {
					t.Errorf("a latecomer hears %v", h.err)
				}
			})
		})
	}
}

// Who begins to listen when it is over hears of it at once, though nobody did before.
func TestContextOfHandleTellsLatecomers(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		var own context.Context
		s.h.Handle = func(ctx context.Context, _ *wechatopen.Message) (wechatopen.Reply, error) { own = ctx; return nil, nil }
		s.serve(s.textXML("hello"))
		called := make(chan bool, 1)
		context.AfterFunc(own, func() { called <- true })
		synctest.Wait()
		select {
		case <-own.Done():
		default:
			t.Error("it is not done")
		}
		if len(called) != 1 || !errors.Is(own.Err(), context.Canceled) || !errors.Is(context.Cause(own), context.Canceled) {
			t.Errorf("AfterFunc called %d functions, it ended with %v, cause %v", len(called), own.Err(), context.Cause(own))
		}
	})
}
