import { generateKeyPairSync, webcrypto } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isStrongSignature, judgeKey, newKey, readRequest } from './keys.ts';
import { hasUnknownCritical, x509 } from './x509.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const RUNS = 300;

async function request(): Promise<Buffer> {
  const { Pkcs10CertificateRequestGenerator } = await x509();
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const made = await Pkcs10CertificateRequestGenerator.create({ name: 'CN=x', keys, signingAlgorithm: ALGORITHM });
  return Buffer.from(made.rawData);
}
const armour = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;

describe('keys', () => {
  test('are made as they are asked for', async () => {
    for (const [choice, name] of [
      [{ type: 'ec' }, 'ec-256'],
      [{ type: 'ec', bits: 384 }, 'ec-384'],
      [{ type: 'rsa' }, 'rsa-2048'],
      [{ type: 'ed25519' }, 'ed25519'],
    ] as const) {
      const made = await newKey(choice);
      expect(made.name).toBe(name);
      expect(made.secret).toContain('-----BEGIN PRIVATE KEY-----');
    }
  });

  test('that are weak, or of a kind that nobody checks, are refused', () => {
    for (const key of [
      generateKeyPairSync('rsa', { modulusLength: 1_024 }),
      generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 }),
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
      generateKeyPairSync('x25519'),
      generateKeyPairSync('ed448'),
    ] as const)
      expect(judgeKey(key.publicKey).kind).toBe('refused');
  });

  test('are not vouched for by broken hashes', () => {
    expect(isStrongSignature({ name: 'ECDSA', hash: { name: 'SHA-256' } })).toBe(true);
    expect(isStrongSignature({ name: 'Ed25519' })).toBe(true);
    for (const hash of [{ name: 'SHA-1' }, { name: 'MD5' }, {}])
      expect(isStrongSignature({ name: 'RSASSA-PKCS1-v1_5', hash })).toBe(false);
    expect(isStrongSignature({})).toBe(false);
  });
});

describe('a certification request', () => {
  test('with any byte changed is refused, or still bears its own signature', async () => {
    const der = await request();
    const whole = await readRequest(armour(der));
    expect(whole.kind).toBe('ok');
    await fc.assert(
      fc.asyncProperty(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const changed = Buffer.from(der);
        changed[at] = (changed[at] ?? 0) ^ change;
        const read = await readRequest(armour(changed));
        // Whatever is still taken asks for the key that signed it.
        if (read.kind === 'ok') expect(read).toEqual(whole);
      }),
      { numRuns: RUNS },
    );
  });

  test('of any bytes is refused, never a fault', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 500 }).map(armour), fc.string()), async (text) => {
        expect((await readRequest(text)).kind).toBe('refused');
      }),
      { numRuns: RUNS },
    );
  });
});

test('a certificate that cannot be read counts as one with conditions that nobody understands', async () => {
  expect(await hasUnknownCritical(new Uint8Array(100))).toBe(true);
});
