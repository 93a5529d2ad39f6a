package wechatopen_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	wechatopen "github.com/wechatopen/wechatopen"
)

// A menu is read or refused, and one that was read and written again reads the same.
func FuzzMenu(f *testing.F) {
	for _, seed := range []string{
		`[]`, `null`, `{"list":[]}`, `{"list":null}`, `7`, `"x"`, `[null]`, `[{"sub_button":[{"sub_button":{"list":[{}]}}]}]`,
		`[{"type":"click","name":"今日歌曲","key":"V1001","sub_button":[]},{"name":"菜单","sub_button":[{"type":"view","name":"<&>","url":"http://www.soso.com/?a=1&b=2"}]}]`,
		`{"list":[{"type":"miniprogram","name":"wxa","url":"http://mp.weixin.qq.com","appid":"wx286b93c14bbf93aa","pagepath":"pages/lunar/index"}]}`,
		`[{"type":"news","name":"news","value":"KQb","news_info":{"list":[{"title":"t","show_cover":0}]}}]`,
		`[{"type":"media_id","name":"图片","media_id":"M"},{"type":"article_id","name":"文","article_id":"A","KEY":"k","Key":"l"}]`,
		`[{"name":7}]`, `[{"name":"\ud800"}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var direct wechatopen.Buttons
		_ = direct.UnmarshalJSON(data) // no panic, even on what is no JSON
		var read wechatopen.Buttons
		if json.Unmarshal(data, &read) != nil {
			return
		}
		written, err := json.Marshal(read)
		if err != nil {
			t.Fatalf("a menu that was read cannot be written: %v", err)
		}
		var again wechatopen.Buttons
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if diff := cmp.Diff(read, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s\nreads otherwise the second time:\n%s", data, diff)
		}
	})
}
