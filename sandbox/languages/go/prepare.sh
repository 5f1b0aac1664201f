# Compiles and vets once what tests import, into the read-only build cache that language.yaml names: without it every
# program would cost 12 s of CPU. Then drops the compiler's own packages.
export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=/usr/lib/touchstone/go-cache CGO_ENABLED=0 HOME=/tmp
mkdir -p /tmp/warm "$GOCACHE"
cd /tmp/warm
{
  printf 'package main\n\nimport (\n\t"testing"\n\n'
  for package in bufio bytes container/heap container/list crypto/md5 encoding/hex encoding/json errors fmt log math \
    math/big math/bits math/rand os reflect regexp sort strconv strings sync time unicode unicode/utf8 \
    github.com/stretchr/testify/assert github.com/stretchr/testify/require; do
    printf '\t_ "%s"\n' "$package"
  done
  printf ')\n\nfunc TestNothing(t *testing.T) {}\n'
} >main_test.go
go test -o program -exec /bin/true main_test.go
sed -e 's/\t"testing"//' -e '/testify/d' -e 's/^func .*/func main() {}/' main_test.go >main.go
go build -o program main.go
cd /
rm -rf /tmp/warm /usr/lib/go-*/pkg/linux_*/cmd /usr/share/go-*/test
