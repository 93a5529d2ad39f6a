package wechatopen

import (
	"log/slog"
	"strconv"
	"time"
)

// Event is a push to the platform's event URL, decrypted. It prints and logs without its codes.
//
// AppID, InfoType and CreateTime are there for every kind; the other fields for the kinds named with them. Raw holds the
// whole decrypted XML, for kinds and elements that have no field: it is secret where the event is.
type Event struct {
	AppID      string // the component
	InfoType   string // one of the Info constants, or one that this package does not know
	CreateTime time.Time

	// authorized, updateauthorized, unauthorized; and as far as the push names the account notify_apply_icpfiling_result.
	AuthorizerAppID string

	// authorized, updateauthorized. The code is redeemed already when OnEvent is called.
	AuthorizationCode       string
	AuthorizationCodeExpiry time.Time
	PreAuthCode             string

	// MiniProgram is set for what happens to a mini program that the platform registers or verifies:
	// notify_third_fasteregister, notify_third_fastregisterbetaapp, notify_third_fastverifybetaapp,
	// notify_3rd_wxa_auth, notify_3rd_wxa_wxverify.
	MiniProgram *MiniProgramEvent

	// Filing is set for notify_icpfiling_verify_result, notify_apply_icpfiling_result and notify_3rd_wxa_auth_and_icp.
	Filing *FilingEvent

	// OrderPaths is set for order_path_apply_result_notify and order_path_audit_result_notify.
	OrderPaths []OrderPathResult

	Raw []byte
}

// InfoTypes of events. Source: the pages on authorization events and on registering mini programs for merchants, and
// what WeChat SDKs in use decode.
const (
	InfoTicket               = "component_verify_ticket"
	InfoAuthorized           = "authorized"
	InfoUpdateAuthorized     = "updateauthorized"
	InfoUnauthorized         = "unauthorized"
	InfoFastRegister         = "notify_third_fasteregister" // spelled so
	InfoFastRegisterBeta     = "notify_third_fastregisterbetaapp"
	InfoFastVerifyBeta       = "notify_third_fastverifybetaapp"
	InfoFilingVerifyResult   = "notify_icpfiling_verify_result"
	InfoFilingApplyResult    = "notify_apply_icpfiling_result"
	InfoMiniProgramAuth      = "notify_3rd_wxa_auth"
	InfoMiniProgramVerify    = "notify_3rd_wxa_wxverify"
	InfoMiniProgramAuthICP   = "notify_3rd_wxa_auth_and_icp"
	InfoOrderPathApplyResult = "order_path_apply_result_notify"
	InfoOrderPathAuditResult = "order_path_audit_result_notify"
)

// MiniProgramEvent is the outcome, or a step, of registering or verifying a mini program.
type MiniProgramEvent struct {
	AppID    string    // the mini program; empty if its registration failed
	Status   int       // of a registration: 0 done, else an error code
	AuthCode string    // of a registration: to be redeemed with [Platform.QueryAuth]
	Message  string    // for people
	Expired  time.Time // notify_3rd_wxa_wxverify: when the yearly verification ends

	// Of a registration: what was asked for. A field that the kind does not have is empty.
	Name, Code, CodeType, LegalPersonaWechat, LegalPersonaName, ComponentPhone, WxUser, IDName, UniqueID string

	// notify_3rd_wxa_auth: the verification task. TaskStatus 0 begun, 1 open for 24 hours, 2 refused, 3 agreed, 4 face
	// check begun, 5 failed, 6 passed, 7 text message sent, 8 failed, 9 passed, 11 order failed, 12 order made, 14
	// verification failed, 15 awaiting payment. ApplyStatus 0 none, 1 unpaid, 2 in review, 3 returned, 4 passed, 5
	// failed for good.
	TaskID                  string
	TaskStatus, ApplyStatus int
	// Who reviews, if someone does.
	Provider, Contact string
	DispatchTime      time.Time
}

// FilingEvent is a step of the filing (备案) of a mini program.
type FilingEvent struct {
	AppID               string
	TaskID              string // notify_icpfiling_verify_result
	Result              int    // notify_icpfiling_verify_result: 2 failed, 3 passed
	AlongWithAuthResult int    // notify_icpfiling_verify_result: 9 text message passed
	Status              int    // notify_apply_icpfiling_result: as the filing-status API counts it
	ProcedureID         string // notify_3rd_wxa_auth_and_icp
	ProcedureStatus     int    // notify_3rd_wxa_auth_and_icp
}

// OrderPathResult is the outcome for one mini program.
type OrderPathResult struct {
	AppID string
	Code  int // 0 done, 1 duplicate, -1 busy, -2 bad appid
}

// String names the event without its code.
func (e MiniProgramEvent) String() string {
	return "{mini program " + e.AppID + ", status " + strconv.Itoa(e.Status) + "}"
}

// GoString keeps the code out of %#v.
func (e MiniProgramEvent) GoString() string { return "wechatopen.MiniProgramEvent" + e.String() }

// LogValue keeps the code out of [log/slog].
func (e MiniProgramEvent) LogValue() slog.Value { return slog.StringValue(e.String()) }

// String names the event without its content.
func (e Event) String() string {
	s := "{" + e.InfoType + " " + e.AppID
	if e.AuthorizerAppID != "" {
		s += " " + e.AuthorizerAppID
	}
	return s + " " + e.CreateTime.Format(time.RFC3339) + "}"
}

// GoString keeps codes out of %#v.
func (e Event) GoString() string { return "wechatopen.Event" + e.String() }

// LogValue keeps codes out of [log/slog].
func (e Event) LogValue() slog.Value { return slog.StringValue(e.String()) }

// parseEvent reads a decrypted push and, of a ticket push, the ticket.
func parseEvent(raw []byte) (e *Event, ticket string, err error) {
	x, err := parseXML(raw, make(element, 0, 12))
	if err != nil {
		return nil, "", err
	}
	e = &Event{
		AppID:           x.get("AppId"),
		InfoType:        x.get("InfoType"),
		CreateTime:      x.time("CreateTime"),
		AuthorizerAppID: x.get("AuthorizerAppid"),
		Raw:             raw,
	}
	switch e.InfoType {
	case InfoTicket:
		ticket = x.get("ComponentVerifyTicket")
	case InfoAuthorized, InfoUpdateAuthorized:
		e.AuthorizationCode = x.get("AuthorizationCode")
		e.AuthorizationCodeExpiry = x.time("AuthorizationCodeExpiredTime")
		e.PreAuthCode = x.get("PreAuthCode")
	case InfoFastRegister, InfoFastRegisterBeta, InfoFastVerifyBeta, InfoMiniProgramAuth, InfoMiniProgramVerify:
		e.MiniProgram = parseMiniProgramEvent(x)
	case InfoFilingVerifyResult, InfoFilingApplyResult, InfoMiniProgramAuthICP:
		if e.AuthorizerAppID == "" {
			e.AuthorizerAppID = x.get("authorizer_appid")
		}
		e.Filing = &FilingEvent{
			AppID: firstOf(x.get("verify_appid"), x.get("authorizer_appid"), x.get("appid")), TaskID: x.get("task_id"),
			Result: int(x.int("result")), AlongWithAuthResult: int(x.int("along_with_auth_result")),
			Status:      int(x.int("beian_status")),
			ProcedureID: x.get("procedure_id"), ProcedureStatus: int(x.int("procedure_status")),
		}
	case InfoOrderPathApplyResult, InfoOrderPathAuditResult:
		for l := range x.children {
			if string(l[0].name) == "list" {
				e.OrderPaths = append(e.OrderPaths, OrderPathResult{l.get("appid"), int(l.int("ret_code"))})
			}
		}
	}
	return e, ticket, nil
}

func parseMiniProgramEvent(x element) *MiniProgramEvent {
	info, dispatch := x.child("info"), x.child("dispatch_info")
	return &MiniProgramEvent{
		AppID: x.get("appid"), Status: int(x.int("status")), AuthCode: x.get("auth_code"),
		Message: firstOf(x.get("msg"), x.get("message")), Expired: x.time("expired"),
		Name: info.get("name"), Code: info.get("code"), CodeType: info.get("code_type"),
		LegalPersonaWechat: info.get("legal_persona_wechat"), LegalPersonaName: info.get("legal_persona_name"),
		ComponentPhone: info.get("component_phone"), WxUser: info.get("wxuser"), IDName: info.get("idname"), UniqueID: info.get("unique_id"),
		TaskID: x.get("taskid"), TaskStatus: int(x.int("task_status")), ApplyStatus: int(x.int("apply_status")),
		Provider: dispatch.get("provider"), Contact: dispatch.get("contact"), DispatchTime: dispatch.time("dispatch_time"),
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
