package exec

import (
	"errors"

	"github.com/streamdb/streamdb/types"
)

// credits is how many messages a sender may have on the way to a receiver.
const credits = 8

// errStopped ends goroutines of a job that has been stopped; it is never
// shown to anyone.
var errStopped = errors.New("job stopped")

// message is what travels between subtasks: a chunk or a barrier.
type message struct {
	input   int32 // of the receiving gate
	port    int32 // of the receiving operator
	chunk   *types.Chunk
	home    chan<- *types.Chunk // where the chunk is recycled, nil: it is shared
	barrier *barrier
}

// barrier ends an epoch.
type barrier struct {
	info types.EpochInfo
	cp   *pendingCheckpoint // nil: no checkpoint
}

// pipe is a sender's end of one gate input. It is used by one goroutine.
type pipe struct {
	inbox  chan<- message
	input  int32
	port   int32
	credit chan struct{} // nil: the inbox is this pipe's alone
	done   <-chan struct{}
}

// send waits for a credit. After that the inbox has room.
func (p *pipe) send(m message) error {
	m.input, m.port = p.input, p.port
	if p.credit != nil {
		select {
		case p.credit <- struct{}{}:
		case <-p.done:
			return errStopped
		}
	}
	select {
	case p.inbox <- m:
		return nil
	case <-p.done:
		return errStopped
	}
}

// gate is the one place where barriers align: after barrier e on one input,
// that input's messages wait until e has come on all. What waits keeps its
// credit, so each input holds back at most credits messages.
type gate struct {
	inbox   chan message
	inputs  []gateInput
	missing int // inputs whose barrier has not come
	cur     *barrier
	stashed int // messages that wait, over all inputs
	done    <-chan struct{}
}

type gateInput struct {
	credit  chan struct{}
	blocked bool
	stash   []message // in order; head is the next
	head    int
}

func newGate(done <-chan struct{}) *gate { return &gate{done: done} }

// add makes a new input feeding port, before the gate is used.
func (g *gate) add(port int) *pipe {
	p := &pipe{input: int32(len(g.inputs)), port: int32(port), done: g.done}
	g.inputs = append(g.inputs, gateInput{})
	return p
}

// open makes the inbox for the inputs added and connects their pipes.
func (g *gate) open(pipes []*pipe) {
	g.missing = len(g.inputs)
	g.inbox = make(chan message, credits*len(g.inputs))
	for i, p := range pipes {
		if len(g.inputs) > 1 {
			g.inputs[i].credit = make(chan struct{}, credits)
			p.credit = g.inputs[i].credit
		}
		p.inbox = g.inbox
	}
}

// next gives the next message that may be processed: a chunk, or a barrier
// that has come on all inputs. The caller releases it.
func (g *gate) next() (message, error) {
	for {
		m, ok := g.unstash()
		if !ok {
			select {
			case m = <-g.inbox:
			case <-g.done:
				return message{}, errStopped
			}
			if in := &g.inputs[m.input]; in.blocked {
				in.stash = append(in.stash, m)
				g.stashed++
				continue
			}
		}
		if m.barrier == nil {
			return m, nil
		}
		g.release(m)
		if b := g.arrive(m); b != nil {
			return message{barrier: b}, nil
		}
	}
}

// arrive notes a barrier on an input and gives it if it was the last one.
func (g *gate) arrive(m message) *barrier {
	g.inputs[m.input].blocked = true
	g.cur = m.barrier
	if g.missing--; g.missing > 0 {
		return nil
	}
	for i := range g.inputs {
		g.inputs[i].blocked = false
	}
	g.missing = len(g.inputs)
	return g.cur
}

// unstash gives a message that waited and need not any longer. An input's
// stash is emptied before its messages in the inbox are read.
func (g *gate) unstash() (message, bool) {
	if g.stashed == 0 {
		return message{}, false
	}
	for i := range g.inputs {
		in := &g.inputs[i]
		if in.blocked || in.head == len(in.stash) {
			continue
		}
		m := in.stash[in.head]
		in.stash[in.head] = message{}
		in.head++
		g.stashed--
		if in.head == len(in.stash) {
			in.stash, in.head = in.stash[:0], 0
		}
		return m, true
	}
	return message{}, false
}

// release gives a message's chunk and credit back.
func (g *gate) release(m message) {
	if m.home != nil {
		select {
		case m.home <- m.chunk:
		default: // the pool is full
		}
	}
	if c := g.inputs[m.input].credit; c != nil {
		<-c
	}
}
