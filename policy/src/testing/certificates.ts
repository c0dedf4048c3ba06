import { createHash } from 'node:crypto';
import type { Credential } from '@millrace/core';

/** Two certificates that signed themselves, good for a hundred years, whose keys nobody has. */
const DER = [
  'MIIBczCCARmgAwIBAgIUd8X6rnMOIwVpcutwRbEJMCO4ZM0wCgYIKoZIzj0EAwIwDjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyMTEwMzg0M1oYDzIxMjYxMDI4MTAzODQzWjAOMQwwCgYDVQQDDANvbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASxjP9YSUn30Cykf7p12TzzxkaI4o+XDC7HbQeojRLnhncEVKeQNBboi/iqPnqGFRz3NWLruo/5gXHCNs/M8CjMo1MwUTAdBgNVHQ4EFgQUvNSdMEvWOhlM9xiGSeepFte+RAYwHwYDVR0jBBgwFoAUvNSdMEvWOhlM9xiGSeepFte+RAYwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA8H508wFED09mHMknvr70u7uorf1ozt8O/85Ce4x5cdoCIDCYUmBOFrZUasmyWbzM4H90sQR6iGfY0fQ6sWXHO7gj',
  'MIIBczCCARmgAwIBAgIUWfGGepdrfKg5frgpM9pNjGD1xoYwCgYIKoZIzj0EAwIwDjEMMAoGA1UEAwwDdHdvMCAXDTI2MTEyMTEwMzg0M1oYDzIxMjYxMDI4MTAzODQzWjAOMQwwCgYDVQQDDAN0d28wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQIlnpvFtU64O8IZSWVOyE9XD4HEHD3zRdrjnTANqgkTurvJKvDnFOoOG4mbdE8tOAzIPgHjjHio6DoxW676ZsYo1MwUTAdBgNVHQ4EFgQURtGds+R7VQxZFFXjzjGBiIID3kMwHwYDVR0jBBgwFoAURtGds+R7VQxZFFXjzjGBiIID3kMwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiB7GIqztrThjuZP+3/inb7+ryq86FvVRSTZDhcN6V4DFQIhANHgeHywL+fU/zrW5yW6XcgpI9aMhGotrXnZYxRzxefZ',
].map((text) => Buffer.from(text, 'base64'));

export const CERTIFICATE_ENDS_MS = Date.UTC(2126, 9, 28, 10, 38, 43);

type CertificateCredential = Extract<Credential, { kind: 'certificate' }>;

export const certificateCredential = (index: 0 | 1): CertificateCredential => credentialOf(DER[index] as Buffer);

/** As a listener makes it of whatever the peer sent. */
export const credentialOf = (certificate: Uint8Array): CertificateCredential => ({
  kind: 'certificate',
  fingerprint: createHash('sha256').update(certificate).digest('hex'),
  certificate,
});
