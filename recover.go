package wechatopen

import (
	"context"
	"errors"
)

// RecoverReport says what [Platform.Recover] did, in numbers of accounts.
type RecoverReport struct {
	Recovered int // their grant is in the Store again
	Skipped   int // their grant was there, or WeChat lists no refresh token for them
	Failed    int // their grant could not be read or written; the log says why
}

// Recover refills the Store, after a loss, with the grants of all accounts that WeChat lists as authorizing the platform.
// It never replaces a grant that is there, so that it may be run at any time, beside a running platform, and again after
// it was cut short. The error says why it did not reach the end of the list; the report holds either way.
func (p *Platform) Recover(ctx context.Context) (RecoverReport, error) {
	var report RecoverReport
	for l, err := range p.listAuthorizers(ctx) {
		if err != nil {
			return report, err
		}
		if err := ctx.Err(); err != nil {
			return report, errorf("recovery cut short: %w", err)
		}
		recovered, err := p.recoverGrant(ctx, l)
		switch {
		case err != nil:
			p.c.logger.Error("wechatopen: grant not recovered", "account", l.AppID, "error", err.Error())
			report.Failed++
		case recovered:
			report.Recovered++
		default:
			report.Skipped++
		}
	}
	return report, nil
}

func (p *Platform) recoverGrant(ctx context.Context, l listedAuthorizer) (recovered bool, err error) {
	if !validAppID(l.AppID) || l.RefreshToken == "" {
		return false, nil
	}
	a := p.unshared(l.AppID) // most of a long list is not in use here
	held, unlock, err := p.c.lock(ctx, a.access.key)
	if err != nil {
		return false, err
	}
	defer unlock()
	switch old, err := a.loadGrant(held); {
	case err == nil && old.RefreshToken != "":
		return false, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return false, err
	}
	return true, a.saveGrant(held, &grantRecord{RefreshToken: l.RefreshToken, Time: int64(l.AuthTime)})
}
