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

// element is a node of a push: its text, or its children.
type element struct {
	name     string
	text     []byte
	children []*element
}

// parseXML reads one document whose root is named xml. It refuses what WeChat never sends and a parser should not be
// made to chew on: a DTD, more than maxXMLDepth levels, more than maxXMLElements elements, an encoding other than UTF-8,
// anything behind the root.
func parseXML(data []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(data)) // no CharsetReader: other encodings are an error
	var stack []*element
	var root *element
	count := 0
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
			if count++; count > maxXMLElements || len(stack) >= maxXMLDepth {
				return nil, errors.New("XML with too many or too deeply nested elements")
			}
			e := &element{name: t.Name.Local}
			switch {
			case len(stack) > 0:
				parent := stack[len(stack)-1]
				parent.children = append(parent.children, e)
			case root != nil || e.name != "xml":
				return nil, errors.New("XML whose root is not one element named xml")
			default:
				root = e
			}
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				top.text = append(top.text, t...)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errors.New("XML with text outside its root")
			}
		}
	}
	if root == nil {
		return nil, errors.New("no XML")
	}
	return root, nil
}

// child is the first child of that name, or an empty element: an absent element and an empty one read the same.
func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return &element{}
}

func (e *element) get(name string) string { return string(bytes.TrimSpace(e.child(name).text)) }

// int is 0 where no number stands: WeChat has been seen to send other things, which Raw still shows.
func (e *element) int(name string) int64 {
	n, err := strconv.ParseInt(e.get(name), 10, 64)
	if err != nil {
		return 0 // one out of range too, for which ParseInt returns the nearest
	}
	return n
}

// time is the zero time where no plausible Unix time in seconds stands.
func (e *element) time(name string) time.Time {
	if n := e.int(name); n > 0 && n < 1<<40 {
		return time.Unix(n, 0)
	}
	return time.Time{}
}

// float is 0 where no number stands.
func (e *element) float(name string) float64 {
	f, err := strconv.ParseFloat(e.get(name), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
