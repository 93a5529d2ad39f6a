package wechatopen

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// scanXML reads the shape that nearly all pushes have, for a fraction of what encoding/xml takes: elements without
// attributes that hold elements or one text, which is a CDATA section or has no escapes. What has another shape, or is
// no XML at all, is not ok, and decodeXML's to judge: scanXML takes nothing that decodeXML refuses or reads otherwise.
// The root is made in the space of nodes, as far as that reaches, and its texts are in data.
func scanXML(data []byte, nodes element) (root element, ok bool) {
	root = nodes[:0]
	var open [maxXMLDepth][]byte // names of the elements that are open
	depth := 0
	s := trimSpaceXML(data)
	for {
		if len(s) > 2 && s[0] == '<' && s[1] == '/' && depth > 0 {
			depth--
			if s, ok = cutEndXML(s, open[depth]); !ok {
				return nil, false
			}
		} else {
			name, inside, ok := cutStartXML(s)
			if !ok || depth == maxXMLDepth || len(root) == maxXMLElements {
				return nil, false
			}
			text, behind, ok := cutTextXML(inside)
			if ok {
				behind, ok = cutEndXML(behind, name)
			}
			if ok {
				root = append(root, node{name, text, depth})
				s = behind
			} else {
				root = append(root, node{name, nil, depth})
				open[depth] = name
				depth++
				s = inside
			}
		}
		s = trimSpaceXML(s)
		if depth == 0 {
			return root, string(root[0].name) == "xml" && len(s) == 0
		}
	}
}

// cutStartXML cuts off a start tag without attributes, whose name is ASCII and in no namespace.
func cutStartXML(s []byte) (name, inside []byte, ok bool) {
	if len(s) == 0 || s[0] != '<' {
		return nil, nil, false
	}
	for i, c := range s[1:] {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case i > 0 && ('0' <= c && c <= '9' || c == '-' || c == '.'):
		default:
			return s[1 : 1+i], s[2+i:], i > 0 && c == '>'
		}
	}
	return nil, nil, false
}

// cutEndXML cuts off the end tag of that name.
func cutEndXML(s, name []byte) (behind []byte, ok bool) {
	n := len("</") + len(name)
	if len(s) <= n || s[0] != '<' || s[1] != '/' || s[n] != '>' || !bytes.Equal(s[2:n], name) {
		return nil, false
	}
	return s[n+1:], true
}

// cutTextXML cuts off one CDATA section, or text up to the next tag.
func cutTextXML(s []byte) (text, behind []byte, ok bool) {
	const cdata = "<![CDATA["
	if len(s) > len(cdata) && string(s[:len(cdata)]) == cdata {
		s = s[len(cdata):]
		if n := indexCDEndXML(s); n >= 0 {
			return s[:n], s[n+len("]]>"):], isTextXML(s[:n])
		}
		return nil, nil, false
	}
	n := bytes.IndexByte(s, '<')
	if n < 0 {
		return nil, nil, false
	}
	text = s[:n]
	return text, s[n:], isTextXML(text) && bytes.IndexByte(text, '&') < 0 && indexCDEndXML(text) < 0
}

// indexCDEndXML is where "]]>" begins, or -1.
func indexCDEndXML(s []byte) int {
	for i := 0; ; i++ {
		n := bytes.IndexByte(s[i:], ']')
		if n < 0 {
			return -1
		}
		if i += n; len(s) < i+len("]]>") {
			return -1
		}
		if s[i+1] == ']' && s[i+2] == '>' {
			return i
		}
	}
}

// trimSpaceXML leaves carriage returns, which are read as line feeds, to decodeXML.
func trimSpaceXML(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\n' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

// isTextXML reports whether s holds only what XML can hold, and no carriage return.
func isTextXML(s []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080 // in a word of eight bytes
	for len(s) >= 8 {
		// The high bits stay clear where all bytes are ASCII and none a control character.
		if w := binary.LittleEndian.Uint64(s); (w|(w-' '*each))&high != 0 {
			break
		}
		s = s[8:]
	}
	ascii := true
	for _, c := range s {
		if c < ' ' && c != '\t' && c != '\n' {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.Valid(s) && !bytes.Contains(s, []byte("\ufffe")) && !bytes.Contains(s, []byte("\uffff"))
}
