package relation

import (
	"context"

	"github.com/streamdb/streamdb/types"
)

// Sum is a relation's content held in memory, to be compared with another.
type Sum struct {
	types []types.Type
	sum   consolidator
}

// SumOf reads a whole snapshot.
func SumOf(ctx context.Context, s Snapshot) (*Sum, error) {
	x := &Sum{}
	return x, x.scan(ctx, s)
}

// Difference gives what has to be added to the sum to get the snapshot's
// content, as signed rows. The sum is used up.
func (x *Sum) Difference(ctx context.Context, s Snapshot) ([]*types.Chunk, error) {
	for i := range x.sum.diff {
		x.sum.diff[i] = -x.sum.diff[i]
	}
	if err := x.scan(ctx, s); err != nil {
		return nil, err
	}
	chunks, _, err := x.sum.chunks(x.types)
	return chunks, err
}

func (x *Sum) scan(ctx context.Context, s Snapshot) error {
	chunks, err := s.Scan(ctx, nil)
	if err != nil {
		return err
	}
	defer chunks.Close()
	for {
		c, err := chunks.Next()
		if err != nil || c == nil {
			return err
		}
		if x.types == nil {
			for i := range c.Cols {
				x.types = append(x.types, c.Cols[i].Type)
			}
		}
		x.sum.add(c)
	}
}
