package wechatopen

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"time"
)

// Limits of what WeChat sends: the deepest known event has four levels, the longest some hundred elements.
const (
	maxXMLDepth    = 16
	maxXMLElements = 4096
)

// element is an element of a push with all that is in it, in the order of the document. An absent element has no nodes;
// it reads the same as an empty one.
type element []node

// node is one element by itself. Its text is not that of elements in it, and not the space between them.
type node struct {
	name, text []byte
	depth      int
}

// parseXML reads one document whose root is named xml. It refuses what WeChat never sends and a parser should not be
// made to chew on: a DTD, more than maxXMLDepth levels, more than maxXMLElements elements, an encoding other than UTF-8,
// anything behind the root. The element is made in the space of nodes, as far as that reaches, and shares memory with data.
func parseXML(data []byte, nodes element) (element, error) {
	if root, ok := scanXML(data, nodes); ok {
		return root, nil
	}
	return decodeXML(data)
}

// decodeXML reads any document.
func decodeXML(data []byte) (element, error) {
	d := xml.NewDecoder(bytes.NewReader(data)) // no CharsetReader: other encodings are an error
	var root element
	type openElement struct {
		index int // in root
		text  []byte
	}
	var open []openElement
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errors.New("malformed XML") // the decoder's own error quotes the document
		}
		switch t := tok.(type) {
		case xml.Directive:
			return nil, errors.New("XML with a DTD")
		case xml.StartElement:
			switch {
			case len(root) >= maxXMLElements || len(open) >= maxXMLDepth:
				return nil, errors.New("XML with too many or too deeply nested elements")
			case len(open) == 0 && (len(root) > 0 || t.Name.Local != "xml"):
				return nil, errors.New("XML whose root is not one element named xml")
			}
			open = append(open, openElement{index: len(root)})
			root = append(root, node{name: []byte(t.Name.Local), depth: len(open) - 1})
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			if leaf := e.index == len(root)-1; leaf || len(bytes.TrimSpace(e.text)) > 0 {
				root[e.index].text = e.text
			}
		case xml.CharData:
			if len(open) > 0 {
				e := &open[len(open)-1]
				e.text = append(e.text, t...)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errors.New("XML with text outside its root")
			}
		}
	}
	if len(root) == 0 {
		return nil, errors.New("no XML")
	}
	return root, nil
}

// child is the first child of that name.
func (e element) child(name string) element {
	for c := range e.children {
		if string(c[0].name) == name {
			return c
		}
	}
	return nil
}

func (e element) children(yield func(element) bool) {
	for i := 1; i < len(e); {
		end := i + 1
		for end < len(e) && e[end].depth > e[i].depth {
			end++
		}
		if !yield(e[i:end]) {
			return
		}
		i = end
	}
}

func (e element) get(name string) string {
	if n := e.first(name); n != nil {
		return n.string()
	}
	return ""
}

func (e element) bytes(name string) []byte {
	if n := e.first(name); n != nil {
		return bytes.TrimSpace(n.text)
	}
	return nil
}

func (e element) int(name string) int64 {
	if n := e.first(name); n != nil {
		return n.int()
	}
	return 0
}

func (e element) time(name string) time.Time {
	if n := e.first(name); n != nil {
		return n.time()
	}
	return time.Time{}
}

// first is the first child of that name, or nil.
func (e element) first(name string) *node {
	for i := range e {
		if n := &e[i]; string(n.name) == name && n.depth == e[0].depth+1 {
			return n
		}
	}
	return nil
}

func (n *node) string() string { return string(bytes.TrimSpace(n.text)) }

// int is 0 where no number stands: WeChat has been seen to send other things, which Raw still shows.
func (n *node) int() int64 {
	i, err := strconv.ParseInt(n.string(), 10, 64)
	if err != nil {
		return 0 // one out of range too, for which ParseInt returns the nearest
	}
	return i
}

// time is the zero time where no plausible Unix time in seconds stands.
func (n *node) time() time.Time {
	if i := n.int(); i > 0 && i < 1<<40 {
		return time.Unix(i, 0)
	}
	return time.Time{}
}

// float is 0 where no number stands.
func (n *node) float() float64 {
	f, err := strconv.ParseFloat(n.string(), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
