package wechatopen

import (
	"context"
	"slices"
	"strings"
)

// MessageMux routes messages to functions by patterns, the most specific first:
//
//	"event/CLICK/help"     an event of this name and key
//	"event/SCAN/shop-*"    an event of this name whose key begins so
//	"event/subscribe"      any event of this name
//	"text/help"            a text of this content; "text/help*" one that begins so
//	"text"                 any message of this type
//	""                     everything else
//
// Names of types and events match in upper and lower case, keys as they are. What no pattern matches is answered
// "success". Patterns and middleware are set before messages come. The zero value is ready to use.
type MessageMux struct {
	routes     map[string]MessageFunc // by pattern; those that end in "*" without it are in prefixes too
	prefixes   []string               // longest first
	middleware []func(MessageFunc) MessageFunc
}

// Handle sets the function of a pattern. A later one for the same pattern takes its place.
func (x *MessageMux) Handle(pattern string, f MessageFunc) {
	if x.routes == nil {
		x.routes = map[string]MessageFunc{}
	}
	pattern = normalPattern(pattern)
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok && x.routes[pattern] == nil {
		x.prefixes = append(x.prefixes, prefix)
		slices.SortFunc(x.prefixes, func(a, b string) int { return len(b) - len(a) })
	}
	x.routes[pattern] = f
}

// Use puts middleware around every function, the first one outermost.
func (x *MessageMux) Use(m ...func(MessageFunc) MessageFunc) {
	x.middleware = append(x.middleware, m...)
}

// Serve answers a message; it is the Handle of a [MessageHandler].
func (x *MessageMux) Serve(ctx context.Context, m *Message) (Reply, error) {
	f := x.match(m)
	for _, wrap := range slices.Backward(x.middleware) {
		f = wrap(f)
	}
	return f(ctx, m)
}

func (x *MessageMux) match(m *Message) MessageFunc {
	event, key := m.key()
	kind := strings.ToLower(m.MsgType)
	name := kind // of what has the key
	if m.isEvent() {
		name += "/" + strings.ToLower(event)
	}
	full := name + "/" + key
	if f := x.routes[full]; f != nil && key != "" && !strings.HasSuffix(key, "*") {
		return f
	}
	// Between patterns that end in "*", longest first, come those that name exactly as much.
	exact := []string{name, kind, ""}
	for _, prefix := range x.prefixes {
		for len(exact) > 0 && len(exact[0]) >= len(prefix) {
			if f := x.routes[exact[0]]; f != nil {
				return f
			}
			exact = exact[1:]
		}
		if strings.HasPrefix(full, prefix) {
			return x.routes[prefix+"*"]
		}
	}
	for _, pattern := range exact {
		if f := x.routes[pattern]; f != nil {
			return f
		}
	}
	return func(context.Context, *Message) (Reply, error) { return nil, nil }
}

// normalPattern brings the names in a pattern to lower case, and leaves its key.
func normalPattern(p string) string {
	names := 1
	if kind, _, _ := strings.Cut(p, "/"); strings.EqualFold(kind, "event") {
		names = 2
	}
	parts := strings.SplitN(p, "/", names+1)
	for i := range min(names, len(parts)) {
		parts[i] = strings.ToLower(parts[i])
	}
	return strings.Join(parts, "/")
}
