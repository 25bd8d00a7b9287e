package indicators

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"

	"sekimori/internal/bimi"
)

// Rules is a digest over the settings by which marks are judged. An answer holds only under the rules by
// which it was made.
type Rules [32]byte

// format is the version of what the store has, and of the rules that are not settings. A change of
// either needs another number.
const format = 1

// key returns the name under which the store has a mark.
func (i *Indicators) key(m id) bimi.MarkKey {
	h := sha256.New()
	for _, s := range []string{string(i.rules[:]), string(m.domain), m.selector, m.location, m.evidence} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return bimi.MarkKey(h.Sum(nil))
}

// load returns what the store has of a mark, or nil. The store may be away. Then the mark is fetched.
func (i *Indicators) load(ctx context.Context, m id) *judged {
	if i.o.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxStoreTime)
	defer cancel()
	text, err := i.o.Store.Mark(ctx, i.key(m), i.o.Now())
	if err != nil {
		i.o.Log.Warn("bimi: the store does not give a mark", "domain", m.domain, "error", err)
		return nil
	}
	var a judged
	if json.Unmarshal(text, &a) != nil || a.Result != bimi.Pass || a.Mark == nil {
		return nil
	}
	a.Mark = a.Mark.Prepared()
	return &a
}

// keep stores a good answer, for as long as it may be used if the web server gives no newer one.
func (i *Indicators) keep(ctx context.Context, m id, a judged) {
	if i.o.Store == nil {
		return
	}
	text, err := json.Marshal(a)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxStoreTime)
		defer cancel()
		err = i.o.Store.PutMark(ctx, i.key(m), a.Ends, text)
	}
	if err != nil {
		i.o.Log.Warn("bimi: a mark is not in the store and will be fetched again after a restart", "domain", m.domain, "error", err)
	}
}
