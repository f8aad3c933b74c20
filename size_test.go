package durablestreams

import (
	"encoding/json"
	"testing"
)

func TestSize_JSON(t *testing.T) {
	for _, test := range []struct {
		in, out string
		want    Size
	}{
		{`0`, `0`, 0},
		{`1`, `1`, 1},
		{`1000`, `1000`, 1000},
		{`1024`, `"1KiB"`, KiB},
		{`"1536KiB"`, `"1536KiB"`, 1536 * KiB},
		{`"1.5MiB"`, `"1536KiB"`, 1536 * KiB},
		{`"16MiB"`, `"16MiB"`, 16 * MiB},
		{`"16 mib"`, `"16MiB"`, 16 * MiB},
		{`"16MB"`, `"15625KiB"`, 16_000_000},
		{`"1MB"`, `1000000`, 1_000_000},
		{`"4096"`, `"4KiB"`, 4 * KiB},
		{`"2GiB"`, `"2GiB"`, 2 * GiB},
		{`"1TiB"`, `"1024GiB"`, 1024 * GiB},
	} {
		var got Size
		if err := json.Unmarshal([]byte(test.in), &got); err != nil || got != test.want {
			t.Errorf("%s: %d, %v; want %d", test.in, got, err, test.want)
			continue
		}
		if out, err := json.Marshal(got); err != nil || string(out) != test.out {
			t.Errorf("%s: written as %s, %v; want %s", test.in, out, err, test.out)
		}
	}
	for _, bad := range []string{`""`, `"x"`, `"16 apples"`, `"-1"`, `"99EiB"`, `1.5`, `true`, `[]`} {
		var got Size
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was read as %d", bad, got)
		}
	}
}
