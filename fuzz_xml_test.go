package wechatopen

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
)

// tree is what a document says, read by encoding/xml alone.
type tree struct {
	name, text string
	children   []*tree
}

func readTree(data []byte) (*tree, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	var open []*tree
	var root *tree
	elements := 0
	for {
		tok, err := d.Token()
		if err == io.EOF && root != nil {
			return root, nil
		}
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.Directive:
			return nil, errors.New("a DTD")
		case xml.StartElement:
			e := &tree{name: tok.Name.Local}
			if elements++; elements > maxXMLElements || len(open) == maxXMLDepth {
				return nil, errors.New("too many, or too deep")
			}
			switch {
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			case root != nil || e.name != "xml":
				return nil, errors.New("not one root named xml")
			default:
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			if e := open[len(open)-1]; len(e.children) > 0 && strings.TrimSpace(e.text) == "" {
				e.text = "" // space between elements
			}
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text += string(tok)
			} else if len(bytes.TrimSpace(tok)) > 0 {
				return nil, errors.New("text outside the root")
			}
		}
	}
}

func (t *tree) print(w io.Writer) {
	fmt.Fprintf(w, "<%q %q", t.name, t.text)
	for _, c := range t.children {
		c.print(w)
	}
	fmt.Fprint(w, ">")
}

func (e element) print(w io.Writer) {
	fmt.Fprintf(w, "<%q %q", e[0].name, e[0].text)
	for c := range e.children {
		c.print(w)
	}
	fmt.Fprint(w, ">")
}

func printed(p interface{ print(io.Writer) }) string {
	var s strings.Builder
	p.print(&s)
	return s.String()
}

// xmlSeeds are the shapes of pushes, each with what a scanner can get wrong about it.
var xmlSeeds = []string{
	// Envelopes.
	"<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName><Encrypt><![CDATA[D7yzvUNAL930+/==]]></Encrypt></xml>",
	"<xml>\n    <AppId><![CDATA[wx134c8103faa5a59e]]></AppId>\n    <Encrypt><![CDATA[D7yzvUNAL930+/==]]></Encrypt>\n</xml>\n",
	"<xml><Encrypt>D7yzvUNAL930+/==</Encrypt><MsgSignature><![CDATA[0]]></MsgSignature><TimeStamp>1713424427</TimeStamp><Nonce><![CDATA[1]]></Nonce></xml>",
	"<xml><Encrypt>\n\t<![CDATA[D7yz]]> </Encrypt></xml>",
	// Messages and events of accounts.
	"<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName>\n<FromUserName><![CDATA[o9AgO5Kd5ggOC-bXrbNODIiE3bGY]]></FromUserName>\n<CreateTime>1715943329</CreateTime>\n" +
		"<MsgType><![CDATA[event]]></MsgType>\n<Event><![CDATA[debug_demo]]></Event>\n<debug_str><![CDATA[hello world]]></debug_str>\n</xml>",
	"<xml><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[ 你好 [微笑] ]] ]>]]></Content><MsgId>6054768590064713728</MsgId></xml>",
	"<xml><MsgType>text</MsgType><Content>a &amp; b &lt;c&gt; &#20320;&#x597d;</Content></xml>",
	"<xml><Content><![CDATA[a]]]]><![CDATA[>b]]></Content><Content/><Content></Content></xml>",
	"<xml><MsgType><![CDATA[location]]></MsgType><Location_X>23.134521</Location_X><Location_Y>113.358803</Location_Y><Scale>20</Scale><Label><![CDATA[位置信息]]></Label></xml>",
	"<xml><Event>MASSSENDJOBFINISH</Event><MsgID>1000001625</MsgID><CopyrightCheckResult><Count>2</Count><ResultList><item><ArticleIdx>1</ArticleIdx></item>" +
		"<item><ArticleIdx>2</ArticleIdx></item></ResultList><CheckState>2</CheckState></CopyrightCheckResult></xml>",
	"<xml><SendPicsInfo><Count>1</Count>\n<PicList><item><PicMd5Sum><![CDATA[1b5f]]></PicMd5Sum>\n</item>\n</PicList>\n</SendPicsInfo>\n</xml>",
	// Events of a platform.
	"<xml><AppId><![CDATA[wx1]]></AppId>\n<CreateTime>1592978881</CreateTime>\n<InfoType><![CDATA[notify_third_fasteregister]]></InfoType><status>0</status>\n" +
		"<msg>OK</msg><info><name><![CDATA[tencent]]></name><code>123</code></info></xml>",
	"<xml><InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>ticket@@@x</ComponentVerifyTicket></xml>",
	"<xml><list><appid>wx1</appid><ret_code>0</ret_code></list><list><appid>wx2</appid><ret_code>-1</ret_code></list></xml>",
	// What is not of the shape, or no XML.
	"<?xml version=\"1.0\" encoding=\"utf-8\"?><xml><a>1</a></xml>",
	"<?xml version=\"1.0\" encoding=\"GBK\"?><xml/>",
	"<!DOCTYPE xml [<!ENTITY a \"a\">]><xml>&a;</xml>",
	"<xml a=\"1\" ><b >c</b ></xml >",
	"<xml xmlns=\"x\"><a:b>c</a:b></xml>",
	"<xml><!-- c --><a>b</a></xml><!-- d -->",
	"<xml>text<a>b</a>text</xml>",
	"<xml><a>\r\nb\r</a>\r</xml>",
	"<xml><a><![CDATA[\r\n]]></a></xml>",
	"<xml><a>]]></a></xml>", "<xml><a>]]</a></xml>", "<xml><a><![CDATA[]]]]></a></xml>", "<xml><a><![CDATA[]]]></a></xml>",
	"<xml><a><![CDATA[x]]>y</a><a>x<![CDATA[y]]></a></xml>",
	"<xml><a><b></a></b></xml>", "<xml><a></xml>", "<xml></xml></xml>", "<xml></xml><xml></xml>", "<xml>", "</xml>", "<a/>", "x<xml/>", "<xml/>x",
	"<xml><1a/></xml>", "<xml><-a></-a></xml>", "<xml><a.b-c_1>d</a.b-c_1></xml>", "<xml><>a</></xml>", "<xml><名>a</名></xml>",
	"<xml><a>\x00</a></xml>", "<xml><a>\x1f</a></xml>", "<xml><a>\x7f</a></xml>", "<xml><a>\xff</a></xml>", "<xml><a>\xed\xa0\x80</a></xml>",
	"<xml><a>\ufffe</a></xml>", "<xml><a><![CDATA[1234567\uffff]]></a></xml>", "<xml><a>\ufffd\U0010ffff</a></xml>", "\ufeff<xml/>",
	"<xml><a>12345678\x019</a></xml>", "<xml><a>\x0112345678</a></xml>", "<xml><a>1234567\xff1234567</a></xml>", "<foo><a>b</a></foo>", "<xml><a>1234567\u00e9 and more</a></xml>", "<xml><a>\u00a0</a>\u00a0<b>\u0085</b></xml>",
	"<xml>" + strings.Repeat("<a>", 15) + strings.Repeat("</a>", 15) + "</xml>",
	"<xml>" + strings.Repeat("<a>", 16) + strings.Repeat("</a>", 16) + "</xml>",
	"<xml>" + strings.Repeat("<a></a>", maxXMLElements-1) + "</xml>",
	"<xml>" + strings.Repeat("<a></a>", maxXMLElements) + "</xml>",
	"",
}

// FuzzXMLAgainstEncodingXML sees that a push is read as encoding/xml reads it, or refused as encoding/xml refuses it, and
// that what scanXML takes by itself is among what is read.
func FuzzXMLAgainstEncodingXML(f *testing.F) {
	for _, s := range xmlSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		want, wantErr := readTree(data)
		got, err := parseXML(data, nil)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v; encoding/xml: %v", data, err, wantErr)
		}
		if err == nil && printed(got) != printed(want) {
			t.Errorf("%q is\n%s, to encoding/xml\n%s", data, printed(got), printed(want))
		}
		if scanned, ok := scanXML(data, make(element, 3)); ok && (err != nil || printed(scanned) != printed(want)) {
			t.Errorf("%q is scanned as\n%s, to encoding/xml\n%s", data, printed(scanned), printed(want))
		}
		if !bytes.Equal(before, data) {
			t.Errorf("%q was changed to %q", before, data)
		}
		// What XML cannot hold is not written into it either.
		if m, err := parseMessage("wx", data); err == nil {
			reply := appendReply(nil, m, Text(m.Content), m.CreateTime)
			again, err := readTree(reply)
			if err != nil || len(again.children) != 5 || again.children[4].text != m.Content {
				t.Errorf("a reply of %q is %s: %v", m.Content, reply, err)
			}
		}
	})
}

// Nearly all pushes are to be read by the scanner: it is for nothing else there.
func TestPushesAreScanned(t *testing.T) {
	for _, s := range xmlSeeds[:14] {
		_, ok := scanXML([]byte(s), nil)
		if want := !strings.ContainsAny(s, "&") && !strings.Contains(s, "<Content/>") && !strings.Contains(s, "\t<![CDATA["); ok != want {
			t.Errorf("%s: scanned %t", s, ok)
		}
	}
}

// FuzzPushQueryAgainstNetURL sees that a query is read as net/url reads it.
func FuzzPushQueryAgainstNetURL(f *testing.F) {
	for _, s := range []string{
		"signature=cc0c594499c1634947d5b502f158ee518947db27&timestamp=1715943329&nonce=1590219412&openid=o9Ag&encrypt_type=aes&msg_signature=6c12a42",
		"signature=5c45&timestamp=1409659589&nonce=263014780&echostr=P9nAzCzy%2BXZvnaqQ%3D%3D",
		"nonce=1&nonce=2&&nonce", "nonce==1&=2&timestamp=", "nonce=a+b&n%6fnce=c", "nonce=1;timestamp=2", "nonce=%", "nonce=%zz", "other=%zz&nonce=1", "&", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, wantErr := url.ParseQuery(raw)
		if wantErr != nil && strings.Count(raw, "&") >= 1000 {
			return // net/url has a limit of its own; that of the request's header is ours
		}
		q, err := readPushQuery(raw)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v; net/url: %v", raw, err, wantErr)
		}
		if err != nil {
			return
		}
		for name, p := range map[string]param{
			"signature": q.signature, "msg_signature": q.msgSignature, "timestamp": q.timestamp, "nonce": q.nonce,
			"encrypt_type": q.encryptType, "echostr": q.echostr,
		} {
			if p.value != values.Get(name) || p.times != len(values[name]) {
				t.Errorf("%q: %s is %q, %d times; net/url: %q", raw, name, p.value, p.times, values[name])
			}
		}
	})
}
