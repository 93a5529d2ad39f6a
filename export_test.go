package wechatopen

import "context"

// Keeper lets a test do what KeepFresh does at each tick, on the moved clock.
type Keeper struct{ k *keeper }

func NewKeeper(p *Platform, o FreshOptions) Keeper { return Keeper{newKeeper(p, o)} }

func (k Keeper) Step(ctx context.Context) { k.k.step(ctx) }

// SessionContent is how a session's content is written.
type SessionContent = sessionSerializer
