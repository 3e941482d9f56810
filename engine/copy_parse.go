package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// maxCopyLine bounds one row of COPY's input.
const maxCopyLine = 256 << 20

// copyField is one value of COPY's input, valid until the next row.
type copyField struct {
	data []byte
	null bool
}

// copyParser splits the input of COPY … FROM into rows of fields.
type copyParser struct {
	f      *copyFormat
	r      *bufio.Reader
	line   int64 // number of the row's last line, from 1
	raw    []byte
	text   []byte // unescaped fields, one behind the other
	ends   []int
	nulls  []bool
	quoted []bool // csv: some of the field was quoted
	fields []copyField
	begun  bool // binary: the header was read
}

func newCopyParser(f *copyFormat, r io.Reader) *copyParser {
	return &copyParser{f: f, r: bufio.NewReaderSize(r, 64<<10)}
}

// next gives the next row, io.EOF at the end.
func (p *copyParser) next() ([]copyField, error) {
	if p.f.binary {
		return p.nextBinary()
	}
	if err := p.readRow(); err != nil {
		return nil, err
	}
	p.text, p.ends, p.nulls, p.quoted = p.text[:0], p.ends[:0], p.nulls[:0], p.quoted[:0]
	if p.f.csv {
		if err := p.splitCSV(); err != nil {
			return nil, err
		}
	} else {
		p.splitText()
	}
	p.fields = p.fields[:0]
	start := 0
	for i, end := range p.ends {
		p.fields = append(p.fields, copyField{p.text[start:end:end], p.nulls[i]})
		start = end
	}
	return p.fields, nil
}

// readRow reads the lines of one row into p.raw, without the last newline.
func (p *copyParser) readRow() error {
	p.raw = p.raw[:0]
	inQuote := false
	for {
		start := len(p.raw)
		err := p.readLine()
		if err != nil && (!errors.Is(err, io.EOF) || len(p.raw) == start && !inQuote) {
			return err
		}
		ended := err != nil
		p.line++
		line := p.raw[start:]
		if string(bytes.TrimRight(line, "\r\n")) == `\.` && start == 0 {
			_, _ = io.Copy(io.Discard, p.r)
			return io.EOF
		}
		var more bool
		if p.f.csv {
			inQuote = p.quoteOpen(line, inQuote)
			more = inQuote
		} else {
			more = continued(line)
		}
		if !more || ended {
			if more && p.f.csv {
				return pgerr.New(pgerr.BadCopyFileFormat, "unterminated CSV quoted field")
			}
			break
		}
	}
	p.raw = bytes.TrimSuffix(p.raw, []byte("\n"))
	p.raw = bytes.TrimSuffix(p.raw, []byte("\r"))
	return nil
}

// readLine appends a line with its newline to p.raw.
func (p *copyParser) readLine() error {
	for {
		b, err := p.r.ReadSlice('\n')
		p.raw = append(p.raw, b...)
		if len(p.raw) > maxCopyLine {
			return pgerr.New(pgerr.ProgramLimitExceeded, "a row of COPY data can have at most %d MB", maxCopyLine>>20)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// continued reports whether a text line's newline is escaped.
func continued(line []byte) bool {
	n := len(line) - 1
	if n < 0 || line[n] != '\n' {
		return false
	}
	slashes := 0
	for n--; n >= 0 && line[n] == '\\'; n-- {
		slashes++
	}
	return slashes%2 == 1
}

// quoteOpen reports whether a quote is open after the line.
func (p *copyParser) quoteOpen(line []byte, open bool) bool {
	f := p.f
	for i := 0; i < len(line); i++ {
		switch {
		case open && line[i] == f.escape && i+1 < len(line) && (line[i+1] == f.quote || line[i+1] == f.escape):
			i++
		case line[i] == f.quote:
			open = !open
		}
	}
	return open
}

// endField ends the field that began at start.
func (p *copyParser) endField(null, quoted bool) {
	p.ends, p.nulls, p.quoted = append(p.ends, len(p.text)), append(p.nulls, null), append(p.quoted, quoted)
}

// splitText splits p.raw in the text format.
func (p *copyParser) splitText() {
	raw, start := p.raw, 0
	field := func(b []byte) {
		if string(b) == p.f.null {
			p.endField(true, false)
			return
		}
		p.text = unescape(p.text, b)
		p.endField(false, false)
	}
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case p.f.delim:
			field(raw[start:i])
			start = i + 1
		}
	}
	field(raw[start:])
}

// unescape appends the value of a field in the text format.
func unescape(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c != '\\' || i+1 == len(b) {
			dst = append(dst, c)
			continue
		}
		i++
		switch c = b[i]; {
		case c >= '0' && c <= '7':
			v := int(c - '0')
			for n := 0; n < 2 && i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '7'; n++ {
				i++
				v = v<<3 | int(b[i]-'0')
			}
			dst = append(dst, byte(v))
		case c == 'x' && i+1 < len(b) && hexDigit(b[i+1]) >= 0:
			v := 0
			for n := 0; n < 2 && i+1 < len(b) && hexDigit(b[i+1]) >= 0; n++ {
				i++
				v = v<<4 | hexDigit(b[i])
			}
			dst = append(dst, byte(v))
		default:
			if k := bytes.IndexByte([]byte(textLetters), c); k >= 0 {
				c = textEscaped[k]
			}
			dst = append(dst, c)
		}
	}
	return dst
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// splitCSV splits p.raw in the csv format.
func (p *copyParser) splitCSV() error {
	f, raw := p.f, p.raw
	start, quoted, open := 0, false, false
	field := func() {
		p.endField(!quoted && string(p.text[start:]) == f.null, quoted)
		start, quoted = len(p.text), false
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case open && c == f.escape && i+1 < len(raw) && (raw[i+1] == f.quote || raw[i+1] == f.escape):
			i++
			p.text = append(p.text, raw[i])
		case c == f.quote:
			open, quoted = !open, true
		case !open && c == f.delim:
			field()
		default:
			p.text = append(p.text, c)
		}
	}
	if open {
		return pgerr.New(pgerr.BadCopyFileFormat, "unterminated CSV quoted field")
	}
	field()
	return nil
}

// nextBinary reads a row of the binary format.
func (p *copyParser) nextBinary() ([]copyField, error) {
	if !p.begun {
		if err := p.binaryHeader(); err != nil {
			return nil, err
		}
		p.begun = true
	}
	var b [4]byte
	if _, err := io.ReadFull(p.r, b[:2]); err != nil {
		if errors.Is(err, io.EOF) { // without the trailer, which PostgreSQL takes too
			return nil, io.EOF
		}
		return nil, unexpectedEnd(err)
	}
	n := int16(binary.BigEndian.Uint16(b[:2]))
	if n == -1 {
		if _, err := p.r.ReadByte(); err == nil {
			return nil, pgerr.New(pgerr.BadCopyFileFormat, "received copy data after EOF marker")
		}
		return nil, io.EOF
	}
	p.line++
	p.raw, p.ends, p.nulls = p.raw[:0], p.ends[:0], p.nulls[:0]
	for range n {
		if _, err := io.ReadFull(p.r, b[:]); err != nil {
			return nil, unexpectedEnd(err)
		}
		l := int32(binary.BigEndian.Uint32(b[:]))
		if l < -1 || l > maxCopyLine || len(p.raw)+int(l) > maxCopyLine {
			return nil, pgerr.New(pgerr.BadCopyFileFormat, "invalid field size")
		}
		for left := int(max(l, 0)); left > 0; { // as it comes, whatever the length says
			part := min(left, 64<<10)
			p.raw = append(p.raw, make([]byte, part)...)
			if _, err := io.ReadFull(p.r, p.raw[len(p.raw)-part:]); err != nil {
				return nil, unexpectedEnd(err)
			}
			left -= part
		}
		p.ends, p.nulls = append(p.ends, len(p.raw)), append(p.nulls, l < 0)
	}
	p.fields = p.fields[:0]
	start := 0
	for i, end := range p.ends {
		p.fields = append(p.fields, copyField{p.raw[start:end:end], p.nulls[i]})
		start = end
	}
	return p.fields, nil
}

func (p *copyParser) binaryHeader() error {
	var h [len(binarySignature) + 8]byte
	if _, err := io.ReadFull(p.r, h[:]); err != nil || string(h[:len(binarySignature)]) != binarySignature {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		return pgerr.New(pgerr.BadCopyFileFormat, "COPY file signature not recognized")
	}
	flags := binary.BigEndian.Uint32(h[len(binarySignature):])
	ext := binary.BigEndian.Uint32(h[len(binarySignature)+4:])
	if flags>>16 != 0 {
		return pgerr.New(pgerr.BadCopyFileFormat, "unrecognized critical flags in COPY file header")
	}
	if _, err := io.CopyN(io.Discard, p.r, int64(ext)); err != nil {
		return unexpectedEnd(err)
	}
	return nil
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return pgerr.New(pgerr.BadCopyFileFormat, "unexpected EOF in COPY data")
	}
	return err
}
