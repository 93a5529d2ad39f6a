package msgcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func decodeKey(t testing.TB, s string) []byte {
	t.Helper()
	k, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newCodec(t testing.TB, appID string, tokens, keys []string) *Codec {
	t.Helper()
	var raw [][]byte
	for _, k := range keys {
		raw = append(raw, decodeKey(t, k))
	}
	c, err := New(appID, tokens, raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	sampleKey  = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	weComKey   = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
	vectorC    = "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE="
	vectorE    = "D7yzvUNAL930rd28wf21s4hvXhz0L6Uit/p2Di6C5DHyYGpEgdBRnKjBec34JwoQXicwaZC7fOVihW80F4VtsdvE//1vr7oAbqjDv8KenVp+ajKYpJnyQ4zMRhIC+a31fCVOMC03FfzV/QuC94kBP55a+Za3sJgvAn+ZbsNqZI5DkyuzkhQN8OBqCzFhizGmy0xpM0MEA4agpvE+RuNO1rhHTtuJB5yltw1FiYzecSXJ+y/D2r81VkRn2eYjh2ltsoyfbDR7Is6ookXIFxTfyeNyeHxMeT4KN5WpCDmSbTcUYrbBUlkGLJ9n/rU8YOywma6G7aTb7KZKOqCxgfoUlYEZPk4FUL/TK7ShriFDMVCLyjQJ15Ob++agDWtcxhfUfe6HIoIpRW8mKNBQiY/Jd1svvuskA1wLef1RTtzKfMpagSCX/laZINmdnX4zrF6kIaR9P4xQrWXbsTFHTYe0Mg=="
	vectorEOut = "hE8R6mGXHkJJjU72KxzKUd1GEkKJaEZq7vRL8XgK3o+00k8JGq6+pZJUIlTSyhsX+bxIBQ72g3GyvDdIZcr6+3HAZbSvPT9t/o11MI7d6WELwqrGd7jMnV0zv3Zc9Nq7"
)

// The official vectors: the Java, Python and WeCom samples, and the example of the third-party platform's push page.
func TestOpenOfficialVectors(t *testing.T) {
	for _, tt := range []struct {
		name, appID, token, key, timestamp, nonce, signature, encrypt string
		size                                                          int
		contains                                                      []string
	}{
		{
			name: "B, encrypted echostr", appID: "wx5823bf96d3bd56c7", token: "QDG6eK", key: weComKey,
			timestamp: "1409659589", nonce: "263014780", signature: "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
			encrypt: "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==",
			size:    19, contains: []string{"1616140317555161061"},
		},
		{
			name: "C, message", appID: "wx2c2769f8efd9abc2", token: "spamtest", key: sampleKey,
			timestamp: "1409735669", nonce: "1320562132", signature: "5d197aaffba7e9b25a30732f161a50dee96bd5fa", encrypt: vectorC,
			size: 280, contains: []string{"<Content><![CDATA[abcdteT]]></Content>\n", "6054768590064713728", "gh_10f6c3c3ac5a"},
		},
		{
			name: "E, push to a platform", appID: "wx134c8103faa5a59e", token: "AAAAA", key: strings.Repeat("A", 43),
			timestamp: "1715943329", nonce: "1590219412", signature: "6c12a4205838198b8fa631b3220723bb07f1015c", encrypt: vectorE,
			size: 292, contains: []string{"debug_demo", "hello world"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCodec(t, tt.appID, []string{tt.token}, []string{tt.key})
			msg, _, err := c.Open(tt.signature, tt.timestamp, tt.nonce, []byte(tt.encrypt))
			if err != nil {
				t.Fatal(err)
			}
			if len(msg) != tt.size {
				t.Errorf("message has %d bytes, want %d", len(msg), tt.size)
			}
			for _, s := range tt.contains {
				if !bytes.Contains(msg, []byte(s)) {
					t.Errorf("message lacks %q:\n%s", s, msg)
				}
			}
		})
	}
}

func TestSealOfficialVectors(t *testing.T) {
	c := newCodec(t, "wxb11529c136998cb6", []string{"pamtest"}, []string{sampleKey})
	encrypt, _ := c.seal(nil, Used{}, [16]byte([]byte("aaaabbbbccccdddd")), []byte("我是中文abcd123"), "1409304348", "xxxxxx")
	if want := "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg=="; string(encrypt) != want {
		t.Errorf("A1: got %s, want %s", encrypt, want)
	}

	c = newCodec(t, "wx134c8103faa5a59e", []string{"AAAAA"}, []string{strings.Repeat("A", 43)})
	encrypt, signature := c.seal(nil, Used{}, [16]byte([]byte("999951349e8ee746")), []byte("<xml><demo_resp>[CDATA[good luck]]</demo_resp></xml>"), "1713424427", "415670741")
	if string(encrypt) != vectorEOut {
		t.Errorf("E, reply: got %s, want %s", encrypt, vectorEOut)
	}
	if want := "03e0812039325c2712ef5f0f980fd14c70d6e307"; signature != want {
		t.Errorf("E, reply: signature %s, want %s", signature, want)
	}
	if !c.Signed("cc0c594499c1634947d5b502f158ee518947db27", "1715943329", "1590219412") {
		t.Error("E: the plain signature does not match")
	}
}

func TestReplyIsSealedWithWhatOpenedThePush(t *testing.T) {
	platform := newCodec(t, "wxapp", []string{"new", "old"}, []string{sampleKey, weComKey})
	for _, tt := range []struct{ name, token, key string }{
		{"both current", "new", sampleKey},
		{"previous key", "new", weComKey},
		{"previous token", "old", sampleKey},
		{"both previous", "old", weComKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wechat := newCodec(t, "wxapp", []string{tt.token}, []string{tt.key})
			encrypt, signature := wechat.Seal(nil, Used{}, []byte("ping"), "1", "n")
			msg, used, err := platform.Open(signature, "1", "n", []byte(encrypt))
			if err != nil || string(msg) != "ping" {
				t.Fatalf("Open: %q, %v", msg, err)
			}
			encrypt, signature = platform.Seal(nil, used, []byte("pong"), "2", "n")
			if msg, _, err = wechat.Open(signature, "2", "n", []byte(encrypt)); err != nil || string(msg) != "pong" {
				t.Fatalf("the reply does not open for the sender: %q, %v", msg, err)
			}
		})
	}
}

// signed is the signature of a ciphertext at time 1 with nonce n.
func signed(token, encrypt string) string {
	s := Signature([]byte(token), []byte("1"), []byte("n"), []byte(encrypt))
	return string(s[:])
}

// encryptRaw encrypts a plaintext as it is, whatever its framing.
func encryptRaw(t testing.TB, key string, plain []byte) string {
	t.Helper()
	k := decodeKey(t, key)
	block, err := aes.NewCipher(k)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, k[:16]).CryptBlocks(out, plain)
	return base64.StdEncoding.EncodeToString(out)
}

func frame(length uint32, rest string) []byte {
	b := append(bytes.Repeat([]byte{'r'}, 16), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[16:], length)
	return append(b, rest...)
}

func pad32(b []byte) []byte {
	n := 32 - len(b)%32
	return append(b, bytes.Repeat([]byte{byte(n)}, n)...)
}

func TestOpenRefuses(t *testing.T) {
	c := newCodec(t, "wxapp", []string{"token"}, []string{sampleKey})
	open := func(encrypt string) error {
		_, _, err := c.Open(signed("token", encrypt), "1", "n", []byte(encrypt))
		return err
	}
	good := pad32(frame(2, "hiwxapp"))
	if err := open(encryptRaw(t, sampleKey, good)); err != nil {
		t.Fatalf("the message that the cases below spoil does not open: %v", err)
	}

	raw := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n)) }
	altered, _ := base64.StdEncoding.DecodeString(encryptRaw(t, sampleKey, good))
	altered[len(altered)-1] ^= 1
	for name, tt := range map[string]struct {
		encrypt string
		want    error
	}{
		"empty":                     {"", ErrDecrypt},
		"1 byte":                    {raw(1), ErrDecrypt},
		"15 bytes":                  {raw(15), ErrDecrypt},
		"16 bytes":                  {raw(16), ErrDecrypt},
		"17 bytes":                  {raw(17), ErrDecrypt},
		"31 bytes":                  {raw(31), ErrDecrypt},
		"not base64":                {"***", ErrDecrypt},
		"last block altered":        {base64.StdEncoding.EncodeToString(altered), ErrDecrypt},
		"msg_len 0xffffffff":        {encryptRaw(t, sampleKey, pad32(frame(0xffffffff, "hiwxapp"))), ErrDecrypt},
		"msg_len 0":                 {encryptRaw(t, sampleKey, pad32(frame(0, "wxapp"))), ErrDecrypt},
		"msg_len more than is left": {encryptRaw(t, sampleKey, pad32(frame(8, "hiwxapp"))), ErrDecrypt},
		"another appid":             {encryptRaw(t, sampleKey, pad32(frame(2, "hiwxother"))), ErrAppID},
		"appid and more":            {encryptRaw(t, sampleKey, pad32(frame(2, "hiwxapp2"))), ErrAppID},
		"no appid":                  {encryptRaw(t, sampleKey, pad32(frame(2, "hi"))), ErrAppID},
		"another key":               {encryptRaw(t, weComKey, good), ErrDecrypt},
		"only padding":              {encryptRaw(t, sampleKey, bytes.Repeat([]byte{32}, 32)), ErrDecrypt},
	} {
		if err := open(tt.encrypt); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}

	// Every padding byte: one opens, 255 do not.
	for b := range 256 {
		plain := bytes.Clone(good)
		right := plain[len(plain)-1]
		plain[len(plain)-1] = byte(b)
		if err := open(encryptRaw(t, sampleKey, plain)); (err == nil) != (byte(b) == right) {
			t.Errorf("padding byte %d: %v", b, err)
		}
	}
}

func TestSignatureIsComparedAsItIs(t *testing.T) {
	c := newCodec(t, "wxapp", []string{"token"}, []string{sampleKey})
	encrypt, signature := c.Seal(nil, Used{}, []byte("hi"), "1", "n")
	digit := "0"
	if signature[0] == '0' {
		digit = "1"
	}
	for name, s := range map[string]string{
		"one digit":  digit + signature[1:],
		"empty":      "",
		"upper case": strings.ToUpper(signature) + "",
		"longer":     signature + "0",
		"shorter":    signature[:39],
	} {
		if name == "upper case" && s == signature {
			continue // all digits, by chance
		}
		_, _, err := c.Open(s, "1", "n", []byte(encrypt))
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", name, err)
		}
		if err != nil && strings.Contains(err.Error(), signature) {
			t.Errorf("%s: the error holds the signature that would do", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	c := newCodec(f, "wx134c8103faa5a59e", []string{"AAAAA"}, []string{strings.Repeat("A", 43), sampleKey})
	f.Add(vectorE)
	f.Add(vectorC)
	f.Add(vectorEOut)
	f.Add("")
	f.Fuzz(func(t *testing.T, encrypt string) {
		msg, used, err := c.Open(signed("AAAAA", encrypt), "1", "n", []byte(encrypt))
		if err != nil {
			return
		}
		again, signature := c.Seal(nil, used, msg, "2", "n")
		msg2, _, err := c.Open(signature, "2", "n", again)
		if err != nil || !bytes.Equal(msg, msg2) {
			t.Errorf("what opened does not open when sealed again: %v", err)
		}
	})
}

func FuzzDecryptFraming(f *testing.F) {
	c := newCodec(f, "wxapp", []string{"token"}, []string{sampleKey})
	f.Add(pad32(frame(2, "hiwxapp")))
	f.Add(pad32(frame(0xffffffff, "")))
	f.Fuzz(func(t *testing.T, plain []byte) {
		plain = plain[:len(plain)/16*16]
		encrypt := encryptRaw(t, sampleKey, plain)
		msg, _, err := c.Open(signed("token", encrypt), "1", "n", []byte(encrypt))
		if err == nil && len(msg) > len(plain) {
			t.Errorf("message of %d bytes out of %d", len(msg), len(plain))
		}
	})
}
