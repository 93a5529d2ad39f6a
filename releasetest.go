package wechatopen

import (
	"context"
	"strings"
)

// releaseTestAccounts are the accounts with which WeChat tests a platform before it is released (全网发布检测), with
// their original ids. Source: "releases_instructions" of the Open Platform documentation.
func releaseTestAccounts() map[string]string {
	return map[string]string{
		// official accounts
		"wx570bc396a51b8ff8": "gh_3c884a361561",
		"wx9252c5e0bb1836fc": "gh_c0f28a78b318",
		"wx8e1097c5bc82cde9": "gh_3f222ed8d140",
		"wx14550af28c71a144": "gh_26128078e9ab",
		"wxa35b9c23cfe664eb": "gh_2b3713f184a6",
		// mini programs
		"wxd101a85aa106f53e": "gh_8dad206e9538",
		"wxc39235c15087f6f3": "gh_905ae9d01059",
		"wx7720d01d4b2a4500": "gh_393666f1fdf4",
		"wx05d483572dcd5d8b": "gh_39abb5d4e1b7",
		"wx5910277cae6fd970": "gh_7818dcb60240",
	}
}

// ReleaseTest answers WeChat's test of the platform before it is released (全网发布检测) and leaves everything else to
// next, which may be nil. It may stay in place: only WeChat's ten test accounts get its answers.
//
//	Handle: wechatopen.ReleaseTest(platform, mux.Serve)
//
// The text check is answered with its text and "_callback"; QUERY_AUTH_CODE with nothing, and then, with the code
// redeemed, by a customer-service message; an event, which older versions of the test send, with its name and
// "from_callback". The ticket is [TicketHandler]'s part.
func ReleaseTest(p *Platform, next func(context.Context, *Message) (Reply, error)) func(context.Context, *Message) (Reply, error) {
	accounts := releaseTestAccounts()
	return func(ctx context.Context, m *Message) (Reply, error) {
		if accounts[m.AppID] != "" {
			if reply := releaseTestReply(p, m); reply != nil {
				return reply, nil
			}
		}
		if next == nil {
			return nil, nil
		}
		return next(ctx, m)
	}
}

func releaseTestReply(p *Platform, m *Message) Reply {
	const text, query = "TESTCOMPONENT_MSG_TYPE_TEXT", "QUERY_AUTH_CODE:"
	switch {
	case m.MsgType == "text" && m.Content == text:
		return Text(text + "_callback")
	case m.MsgType == "text" && strings.HasPrefix(m.Content, query):
		code := strings.TrimSpace(strings.TrimPrefix(m.Content, query))
		return emptyReply{after: func(ctx context.Context) error {
			if _, err := p.QueryAuth(ctx, code); err != nil {
				return err
			}
			return p.Account(m.AppID).Send(ctx, m.FromUserName, Text(code+"_from_api"))
		}}
	case m.MsgType == "event" && m.Event != "":
		return Text(m.Event + "from_callback")
	}
	return nil
}
