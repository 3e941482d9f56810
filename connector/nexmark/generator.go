package nexmark

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/types"
)

// The standard configuration of the public generator.
const (
	personsPerGroup  = 1
	auctionsPerGroup = 3
	bidsPerGroup     = 46
	group            = personsPerGroup + auctionsPerGroup + bidsPerGroup

	firstPerson   = 1000
	firstAuction  = 1000
	firstCategory = 10

	inFlightAuctions = 100
	activePeople     = 1000
	lead             = 10 // ids not yet there that may be named
	hotAuctionRatio  = 2  // all but one in so many bids are for a hot auction
	hotBidderRatio   = 4
	hotSellerRatio   = 4
	hotStride        = 100 // one in so many ids is hot at its time
	categories       = 5
	channels         = 10_000
	hotChannels      = 4

	personBytes  = 200
	auctionBytes = 500
	bidBytes     = 100
	// avgEventBytes is the mean size of an event of any kind.
	avgEventBytes = (personsPerGroup*personBytes + auctionsPerGroup*auctionBytes + bidsPerGroup*bidBytes) / group

	// auctionMillis is the mean length of an auction: the event time until
	// inFlightAuctions more have begun.
	auctionMillis = inFlightAuctions * group / auctionsPerGroup * eventMicros / 1000
)

// kindOf gives the kind of event n and how many of that kind follow in a row.
func kindOf(n uint64) (kind int, run uint64) {
	switch at := n % group; {
	case at < personsPerGroup:
		return person, personsPerGroup - at
	case at < personsPerGroup+auctionsPerGroup:
		return auction, personsPerGroup + auctionsPerGroup - at
	default:
		return bid, group - at
	}
}

// Ids without their first number ("base 0"), as of an event.

// lastPerson is the newest person at event n.
func lastPerson(n uint64) uint64 { return n / group }

// lastAuction is the newest auction at event n, itself if it is one. It is
// not called for a person, before which there may be none.
func lastAuction(n uint64) uint64 {
	at := n%group - personsPerGroup
	return n/group*auctionsPerGroup + min(at, auctionsPerGroup-1)
}

// anyPerson is one of the active people, or one of a few yet to come.
func anyPerson(n, rnd uint64) uint64 {
	people := lastPerson(n) + 1
	active := min(people, activePeople)
	return people - active + below(rnd, active+lead)
}

// anyAuction is one of the auctions in flight, or one of a few yet to come.
func anyAuction(n, rnd uint64) uint64 {
	last := lastAuction(n)
	first := last - min(last, inFlightAuctions)
	return first + below(rnd, last-first+1+lead)
}

// The independent draws of an event.
const (
	drawAuction = iota
	drawPerson
	drawPrice
	drawReserve
	drawChannel
	drawExtra
	drawName
	drawDescription
	drawExpires
	drawCategory
	drawEmail
	drawCard
	drawCity
	drawState
	numDraws
)

// textBytes is the size of the constant random texts; rows take pieces.
const textBytes = 1 << 16

// maxText is the longest piece.
const maxText = 600

// generator makes columns. It is constant after newGenerator and shared by
// all readers.
type generator struct {
	start types.Micros
	seeds [numDraws]uint64

	priceHigh [1 << 11]float64 // 10^(6i/2^11) × 100
	priceLow  [1 << 11]float64 // 10^(6i/2^22)

	extra dictionary // one text of letters, without spans
	words dictionary // one text of letters and spaces

	channel, url             dictionary
	fullName, city, usaState dictionary
}

// dictionary is a constant buffer that rows' spans point into. Its slice has
// no spare capacity, so that nobody appends into it.
type dictionary struct {
	data []byte
	span []types.Span
}

func (d *dictionary) add(s string) {
	d.span = append(d.span, types.Span{Off: uint32(len(d.data)), Len: uint32(len(s))})
	d.data = append(d.data, s...)
}

func (d *dictionary) seal() { d.data = d.data[:len(d.data):len(d.data)] }

// mix is the finaliser of splitmix64: a bijection whose outputs for x, x + c,
// x + 2c, … (c odd) pass as random.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const golden = 0x9e3779b97f4a7c15

// draw gives 64 random bits for event n; field is one of the draws.
func (g *generator) draw(field int, n uint64) uint64 { return mix(g.seeds[field] + n*golden) }

// below makes random bits a number under n.
func below(rnd, n uint64) uint64 {
	hi, _ := bits.Mul64(rnd, n)
	return hi
}

func newGenerator(seed uint64, start types.Micros) *generator {
	g := &generator{start: start}
	for i := range g.seeds {
		g.seeds[i] = mix(mix(seed) + uint64(i+1)*golden)
	}
	for i := range g.priceHigh {
		g.priceHigh[i] = 100 * math.Pow(10, 6*float64(i)/(1<<11))
		g.priceLow[i] = math.Pow(10, 6*float64(i)/(1<<22))
	}
	rng := sequence(mix(seed ^ golden))
	for range textBytes + maxText {
		g.extra.data = append(g.extra.data, rng.letter())
		g.words.data = append(g.words.data, rng.letterOr(' '))
	}
	for _, first := range strings.Split("Peter,Paul,Luke,John,Saul,Vicky,Kate,Julie,Sarah,Deiter,Walter", ",") {
		for _, last := range strings.Split("Shultz,Abrams,Spencer,White,Bartels,Walton,Smith,Jones,Noris", ",") {
			g.fullName.add(first + " " + last)
		}
	}
	for _, s := range strings.Split("Phoenix,Los Angeles,San Francisco,Boise,Portland,Bend,Redmond,Seattle,Kent,Cheyenne", ",") {
		g.city.add(s)
	}
	for _, s := range strings.Split("AZ,CA,ID,OR,WA,WY", ",") {
		g.usaState.add(s)
	}
	g.addChannels(&rng)
	for _, d := range []*dictionary{&g.extra, &g.words, &g.fullName, &g.city, &g.usaState, &g.channel, &g.url} {
		d.seal()
	}
	return g
}

// addChannels makes the hot channels and, after them, the others, each with
// its URL.
func (g *generator) addChannels(rng *sequence) {
	for _, s := range [hotChannels]string{"Google", "Facebook", "Baidu", "Apple"} {
		g.channel.add(s)
		g.url.add(rng.baseURL())
	}
	for i := range uint32(channels) {
		url := rng.baseURL()
		if rng.below(10) > 0 {
			id := int64(int32(bits.Reverse32(i)))
			url += "&channel_id=" + strconv.FormatInt(max(id, -id), 10)
		}
		g.channel.add("channel-" + strconv.Itoa(int(i)))
		g.url.add(url)
	}
}

// sequence is a random sequence, for the constant buffers.
type sequence uint64

func (s *sequence) below(n uint64) uint64 {
	*s += golden
	return below(mix(uint64(*s)), n)
}

func (s *sequence) letter() byte { return 'a' + byte(s.below(26)) }

func (s *sequence) letterOr(special byte) byte {
	if s.below(13) == 0 {
		return special
	}
	return s.letter()
}

func (s *sequence) baseURL() string {
	url := []byte("https://www.nexmark.com/")
	for range 3 {
		for range 3 + s.below(2) {
			url = append(url, s.letterOr('_'))
		}
		url = append(url, '/')
	}
	return string(append(url, "item.htm?query=1"...))
}

func (g *generator) time(n uint64) int64 { return int64(g.start) + int64(n)*eventMicros }

// price is log-uniform from 1 to 10^6 units, in hundredths.
func (g *generator) price(rnd uint64) int64 {
	// The conversion keeps the compiler from fusing product and sum, so that
	// all machines give the same price.
	return int64(float64(g.priceHigh[rnd>>53]*g.priceLow[rnd>>42&(1<<11-1)]) + 0.5)
}

// extraSpan is a text that fills up a row of size bytes to about total.
func extraSpan(rnd, size, total uint64) types.Span {
	if size > total {
		return types.Span{}
	}
	want := total - size
	delta := (2*want + 5) / 10 // 0.2 × want, rounded
	return types.Span{
		Off: uint32(rnd & (textBytes - 1)),
		Len: uint32(want - delta + below(rnd, 2*delta)),
	}
}

// word is a text of 3 to limit-1 letters and inner spaces.
func (g *generator) word(rnd, limit uint64) types.Span {
	s := types.Span{Off: uint32(rnd & (textBytes - 1)), Len: uint32(3 + below(rnd, limit-3))}
	for s.Len > 0 && g.words.data[s.Off] == ' ' {
		s.Off++
		s.Len--
	}
	for s.Len > 0 && g.words.data[s.Off+s.Len-1] == ' ' {
		s.Len--
	}
	return s
}

// lookup fills v with random entries of d.
func (g *generator) lookup(v *types.Vec, d *dictionary, field int, events []uint64) {
	v.Data = d.data
	out := v.Span[:len(events)]
	for i, n := range events {
		out[i] = d.span[below(g.draw(field, n), uint64(len(d.span)))]
	}
}

func (g *generator) times(v *types.Vec, events []uint64) {
	out := v.I64[:len(events)]
	for i, n := range events {
		out[i] = g.time(n)
	}
}

// channelOf is a bid's entry in the channel and url dictionaries.
func (g *generator) channelOf(n uint64) uint64 {
	r := g.draw(drawChannel, n)
	if r&1 != 0 {
		return r >> 1 & (hotChannels - 1)
	}
	return hotChannels + below(r, channels)
}

// bid fills column c of bids.
func (g *generator) bid(v *types.Vec, c int, events []uint64) {
	switch c {
	case bidAuction:
		out := v.I64[:len(events)]
		for i, n := range events {
			a := lastAuction(n) / hotStride * hotStride
			if r := g.draw(drawAuction, n); r&(hotAuctionRatio-1) == 0 {
				a = anyAuction(n, r)
			}
			out[i] = int64(a + firstAuction)
		}
	case bidBidder:
		out := v.I64[:len(events)]
		for i, n := range events {
			// The second of the stride, so that hot bidders are not hot sellers.
			p := lastPerson(n)/hotStride*hotStride + 1
			if r := g.draw(drawPerson, n); r&(hotBidderRatio-1) == 0 {
				p = anyPerson(n, r)
			}
			out[i] = int64(p + firstPerson)
		}
	case bidPrice:
		out := v.I64[:len(events)]
		for i, n := range events {
			out[i] = g.price(g.draw(drawPrice, n))
		}
	case bidChannel, bidURL:
		d := &g.channel
		if c == bidURL {
			d = &g.url
		}
		v.Data = d.data
		out := v.Span[:len(events)]
		for i, n := range events {
			out[i] = d.span[g.channelOf(n)]
		}
	case bidTime:
		g.times(v, events)
	case bidExtra:
		v.Data = g.extra.data
		out := v.Span[:len(events)]
		for i, n := range events {
			out[i] = extraSpan(g.draw(drawExtra, n), 4*8, bidBytes)
		}
	}
}

// auction fills column c of auctions.
func (g *generator) auction(v *types.Vec, c int, events []uint64) {
	switch c {
	case auctionItem, auctionDescription:
		v.Data = g.words.data
	case auctionExtra:
		v.Data = g.extra.data
	}
	for i, n := range events {
		switch c {
		case auctionID:
			v.I64[i] = int64(lastAuction(n) + firstAuction)
		case auctionItem:
			v.Span[i] = g.item(n)
		case auctionDescription:
			v.Span[i] = g.description(n)
		case auctionInitial:
			v.I64[i] = g.price(g.draw(drawPrice, n))
		case auctionReserve:
			v.I64[i] = g.price(g.draw(drawPrice, n)) + g.price(g.draw(drawReserve, n))
		case auctionTime:
			v.I64[i] = g.time(n)
		case auctionExpires:
			v.I64[i] = g.time(n) + 1000*int64(1+below(g.draw(drawExpires, n), 2*auctionMillis))
		case auctionSeller:
			p := lastPerson(n) / hotStride * hotStride
			if r := g.draw(drawPerson, n); r&(hotSellerRatio-1) == 0 {
				p = anyPerson(n, r)
			}
			v.I64[i] = int64(p + firstPerson)
		case auctionCategory:
			v.I64[i] = int64(firstCategory + below(g.draw(drawCategory, n), categories))
		case auctionExtra:
			size := 6*8 + g.item(n).Len + g.description(n).Len
			v.Span[i] = extraSpan(g.draw(drawExtra, n), uint64(size), auctionBytes)
		}
	}
}

func (g *generator) item(n uint64) types.Span        { return g.word(g.draw(drawName, n), 20) }
func (g *generator) description(n uint64) types.Span { return g.word(g.draw(drawDescription, n), 100) }

// person fills column c of persons.
func (g *generator) person(v *types.Vec, c int, events []uint64) {
	switch c {
	case personID:
		for i, n := range events {
			v.I64[i] = int64(lastPerson(n) + firstPerson)
		}
	case personName:
		g.lookup(v, &g.fullName, drawName, events)
	case personCity:
		g.lookup(v, &g.city, drawCity, events)
	case personState:
		g.lookup(v, &g.usaState, drawState, events)
	case personTime:
		g.times(v, events)
	case personEmail:
		v.Data = make([]byte, 0, 18*len(events))
		for i, n := range events {
			off := len(v.Data)
			v.Data = g.appendEmail(v.Data, n)
			v.Span[i] = types.Span{Off: uint32(off), Len: uint32(len(v.Data) - off)}
		}
	case personCard:
		v.Data = make([]byte, 0, cardLen*len(events))
		for i, n := range events {
			v.Span[i] = types.Span{Off: uint32(len(v.Data)), Len: cardLen}
			v.Data = g.appendCard(v.Data, n)
		}
	case personExtra:
		v.Data = g.extra.data
		for i, n := range events {
			v.Span[i] = extraSpan(g.draw(drawExtra, n), g.personSize(n), personBytes)
		}
	}
}

// personSize is the size of all columns but extra.
func (g *generator) personSize(n uint64) uint64 {
	size := 8 + cardLen
	var email [24]byte
	size += len(g.appendEmail(email[:0], n))
	size += int(g.fullName.span[below(g.draw(drawName, n), uint64(len(g.fullName.span)))].Len)
	size += int(g.city.span[below(g.draw(drawCity, n), uint64(len(g.city.span)))].Len)
	size += int(g.usaState.span[below(g.draw(drawState, n), uint64(len(g.usaState.span)))].Len)
	return uint64(size)
}

// appendEmail appends an address such as "qkd fua@wxyz.com".
func (g *generator) appendEmail(dst []byte, n uint64) []byte {
	r := g.draw(drawEmail, n)
	user, host := g.word(r, 7), g.word(mix(r), 5)
	dst = append(dst, g.words.data[user.Off:user.Off+user.Len]...)
	dst = append(dst, '@')
	dst = append(dst, g.words.data[host.Off:host.Off+host.Len]...)
	return append(dst, ".com"...)
}

const cardLen = 4*4 + 3

// appendCard appends four groups of four digits.
func (g *generator) appendCard(dst []byte, n uint64) []byte {
	r := g.draw(drawCard, n)
	for i := range 4 {
		if i > 0 {
			dst = append(dst, ' ')
		}
		d := r >> (16 * i) & 0xffff * 10000 >> 16
		dst = append(dst, '0'+byte(d/1000), '0'+byte(d/100%10), '0'+byte(d/10%10), '0'+byte(d%10))
	}
	return dst
}
