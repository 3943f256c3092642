package secure

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// set is what the files held at one moment. Immutable.
type set struct {
	stamps [3]os.FileInfo // from before the files were read: what changes meanwhile is seen at the next look
	server *tls.Config    // nil without a certificate
	client *tls.Config
	ends   time.Time     // of the certificate that expires first
	lasts  time.Duration // how long that one is valid in all
}

// read reads all the files. They belong together: one that can't be used makes
// the others useless.
func read(files Files) (*set, error) {
	s := &set{stamps: stamp(files), client: &tls.Config{MinVersion: tls.VersionTLS12}}
	var pool *x509.CertPool
	if files.CA.Path != "" {
		var err error
		if pool, err = readPool(files.CA); err != nil {
			return nil, err
		}
		s.client.RootCAs = pool
	}
	if files.Cert.Path == "" {
		return s, nil
	}
	pair, err := readPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	if err := s.expires(pair.Certificate); err != nil {
		return nil, files.Cert.wrong(err)
	}
	s.server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if pool != nil {
		s.server.ClientCAs, s.server.ClientAuth = pool, tls.RequireAndVerifyClientCert
		s.server.SessionTicketsDisabled = true
	}
	// Also where the server asks for another issuer's: then it can say so, rather
	// than that there was none.
	s.client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return s, nil
}

func readPair(cert, key File) (tls.Certificate, error) {
	certificates, err := cert.read()
	if err != nil {
		return tls.Certificate{}, err
	}
	private, err := key.read()
	if err != nil {
		return tls.Certificate{}, err
	}
	if block := keyBlock(private); block != nil && encrypted(block) {
		return tls.Certificate{}, key.wrong(errors.New("the key has a passphrase; candado takes one without"))
	}
	pair, err := tls.X509KeyPair(certificates, private)
	if err != nil {
		text := strings.TrimPrefix(err.Error(), "tls: ")
		return tls.Certificate{}, fmt.Errorf("%s %s with %s %s: %s", cert.Setting, cert.Path, key.Setting, key.Path, text)
	}
	return pair, nil
}

// keyBlock returns the first block that is of a key.
func keyBlock(text []byte) *pem.Block {
	for {
		block, rest := pem.Decode(text)
		if block == nil || strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
		text = rest
	}
}

func encrypted(key *pem.Block) bool {
	return key.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(key.Headers["Proc-Type"], "ENCRYPTED")
}

func readPool(ca File) (*x509.CertPool, error) {
	text, err := ca.read()
	if err != nil {
		return nil, err
	}
	pool, found := x509.NewCertPool(), false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, ca.wrong(err)
		}
		pool.AddCert(cert)
		found = true
	}
	if !found {
		return nil, ca.wrong(errors.New("there is no certificate in it"))
	}
	return pool, nil
}

// expires notes which of a chain's certificates expires first.
func (s *set) expires(chain [][]byte) error {
	for _, der := range chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		if s.ends.IsZero() || cert.NotAfter.Before(s.ends) {
			s.ends, s.lasts = cert.NotAfter, cert.NotAfter.Sub(cert.NotBefore)
		}
	}
	return nil
}

func (f File) read() ([]byte, error) {
	text, err := ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Setting, err) // which names the file
	}
	return text, nil
}

func (f File) wrong(err error) error { return fmt.Errorf("%s %s: %w", f.Setting, f.Path, err) }
