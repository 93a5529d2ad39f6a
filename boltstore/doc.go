// Package boltstore keeps the state of a platform in one file: a [wechatopen.Store] without a server, on bbolt.
//
//	store, err := boltstore.Open("wechat.db")
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer store.Close()
//	platform, err := wechatopen.NewPlatform(credentials, wechatopen.WithStore(store))
//
// Set and Delete return when the change is on the disk, so that neither a killed process nor a power cut loses what was
// acknowledged.
//
// One process has the file open at a time, and Open in another waits for it, a second unless [WithLockTimeout] says
// otherwise. So no Locker is needed; and a deployment that starts the new process before it ends the old one, or that
// has several, needs redisstore instead. The file belongs on a local disk, not on NFS.
//
// The file is created with mode 0600 and holds secrets in the clear, those deleted or expired a short while ago too;
// [wechatopen.NewSealedStore] encrypts them. To back it up, copy it while no process has it open. It does not shrink:
// the space of what is deleted or expired is used again.
package boltstore
