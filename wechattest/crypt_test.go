package wechattest

import (
	"strings"
	"testing"
)

const sampleKey = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

func TestEncryptOfficialJavaSample(t *testing.T) {
	const want = "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg=="
	p := frame([]byte("aaaabbbbccccdddd"), []byte("我是中文abcd123"), "wxb11529c136998cb6")
	got, err := encryptRaw(sampleKey, pad(p))
	if err != nil || got != want {
		t.Fatalf("encrypt = %q, %v, want %q", got, err, want)
	}
}

func TestDecryptOfficialSamples(t *testing.T) {
	zeroKey := strings.Repeat("A", 43)
	for _, tt := range []struct {
		name, token, key, appID, timestamp, nonce, signature, encrypt string
		random                                                        string
		size                                                          int
		contains                                                      string
	}{
		{name: "B", token: "QDG6eK", key: "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C", appID: "wx5823bf96d3bd56c7",
			timestamp: "1409659589", nonce: "263014780", signature: "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
			encrypt: "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==",
			size:    19, contains: "1616140317555161061"},
		{name: "C", token: "spamtest", key: sampleKey, appID: "wx2c2769f8efd9abc2",
			timestamp: "1409735669", nonce: "1320562132", signature: "5d197aaffba7e9b25a30732f161a50dee96bd5fa",
			encrypt: "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE=",
			size:    280, contains: "<FromUserName><![CDATA[oyORnuP8q7ou2gfYjqLzSIWZf0rs]]></FromUserName>\n"},
		{name: "E", token: "AAAAA", key: zeroKey, appID: "wx134c8103faa5a59e",
			timestamp: "1715943329", nonce: "1590219412", signature: "6c12a4205838198b8fa631b3220723bb07f1015c",
			encrypt: "D7yzvUNAL930rd28wf21s4hvXhz0L6Uit/p2Di6C5DHyYGpEgdBRnKjBec34JwoQXicwaZC7fOVihW80F4VtsdvE//1vr7oAbqjDv8KenVp+ajKYpJnyQ4zMRhIC+a31fCVOMC03FfzV/QuC94kBP55a+Za3sJgvAn+ZbsNqZI5DkyuzkhQN8OBqCzFhizGmy0xpM0MEA4agpvE+RuNO1rhHTtuJB5yltw1FiYzecSXJ+y/D2r81VkRn2eYjh2ltsoyfbDR7Is6ookXIFxTfyeNyeHxMeT4KN5WpCDmSbTcUYrbBUlkGLJ9n/rU8YOywma6G7aTb7KZKOqCxgfoUlYEZPk4FUL/TK7ShriFDMVCLyjQJ15Ob++agDWtcxhfUfe6HIoIpRW8mKNBQiY/Jd1svvuskA1wLef1RTtzKfMpagSCX/laZINmdnX4zrF6kIaR9P4xQrWXbsTFHTYe0Mg==",
			random:  "1205899eaf019bbd", size: 292, contains: "<debug_str>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := sign(tt.token, tt.timestamp, tt.nonce, tt.encrypt); got != tt.signature {
				t.Errorf("msg_signature = %s, want %s", got, tt.signature)
			}
			random, msg, appID, err := decrypt(tt.key, tt.encrypt)
			if err != nil {
				t.Fatal(err)
			}
			if tt.random != "" && string(random) != tt.random {
				t.Errorf("random = %q, want %q", random, tt.random)
			}
			if appID != tt.appID || len(msg) != tt.size || !strings.Contains(string(msg), tt.contains) {
				t.Errorf("appid %q, %d bytes: %s", appID, len(msg), msg)
			}
			again, err := encryptRaw(tt.key, pad(frame(random, msg, appID)))
			if err != nil || again != tt.encrypt {
				t.Errorf("encrypted again: %q, %v", again, err)
			}
		})
	}
	if got := sign("AAAAA", "1715943329", "1590219412"); got != "cc0c594499c1634947d5b502f158ee518947db27" {
		t.Errorf("signature of E = %s", got)
	}
}

func TestOpenReplyOfOfficialSample(t *testing.T) {
	const encrypt = "hE8R6mGXHkJJjU72KxzKUd1GEkKJaEZq7vRL8XgK3o+00k8JGq6+pZJUIlTSyhsX+bxIBQ72g3GyvDdIZcr6+3HAZbSvPT9t/o11MI7d6WELwqrGd7jMnV0zv3Zc9Nq7"
	const msg = "<xml><demo_resp>[CDATA[good luck]]</demo_resp></xml>"
	key := strings.Repeat("A", 43)
	made, err := encryptRaw(key, pad(frame([]byte("999951349e8ee746"), []byte(msg), "wx134c8103faa5a59e")))
	if err != nil || made != encrypt {
		t.Errorf("encrypt = %q, %v", made, err)
	}
	reply := "<xml><Encrypt><![CDATA[" + encrypt + "]]></Encrypt><MsgSignature><![CDATA[03e0812039325c2712ef5f0f980fd14c70d6e307]]></MsgSignature>" +
		"<TimeStamp>1713424427</TimeStamp><Nonce><![CDATA[415670741]]></Nonce></xml>"
	got, err := OpenReply(reply, "AAAAA", key, "wx134c8103faa5a59e")
	if err != nil || got != msg {
		t.Errorf("OpenReply = %q, %v", got, err)
	}
	for name, bad := range map[string]func() (string, error){
		"token": func() (string, error) { return OpenReply(reply, "BBBBB", key, "wx134c8103faa5a59e") },
		"key":   func() (string, error) { return OpenReply(reply, "AAAAA", sampleKey, "wx134c8103faa5a59e") },
		"appid": func() (string, error) { return OpenReply(reply, "AAAAA", key, "wxba5fad812f8e6fb9") },
		"timestamp": func() (string, error) {
			return OpenReply(strings.Replace(reply, "1713424427", "1713424428", 1), "AAAAA", key, "wx134c8103faa5a59e")
		},
		"no XML": func() (string, error) { return OpenReply("{}", "AAAAA", key, "wx134c8103faa5a59e") },
	} {
		if got, err := bad(); err == nil {
			t.Errorf("wrong %s: OpenReply = %q, want an error", name, got)
		}
	}
}

func TestJSSignatureOfOfficialSamples(t *testing.T) {
	const ticket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"
	for url, want := range map[string]string{
		"http://mp.weixin.qq.com?params=value": "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
		"http://mp.weixin.qq.com":              "f4d90daf4b3bca3078ab155816175ba34c443a7b",
	} {
		if got := jsSignature(ticket, "Wm3WZYTPz0wzccnW", 1414587457, url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	f.Add(sampleKey, "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg==")
	f.Add(strings.Repeat("A", 43), "")
	f.Fuzz(func(t *testing.T, key, encrypted string) {
		random, msg, appID, err := decrypt(key, encrypted)
		if err != nil {
			return
		}
		if _, err := encryptRaw(key, pad(frame(random, msg, appID))); err != nil {
			t.Error(err)
		}
	})
}
