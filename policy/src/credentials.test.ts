import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { SignJWT, UnsecuredJWT } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { createCredentials, type SigningCredentials } from './credentials.ts';
import { generateSigningKey, type SigningKey } from './tokens.ts';

const secret = new Uint8Array(32).fill(1);
const otherSecret = new Uint8Array(32).fill(2);
let nowMs = Date.UTC(2026, 0, 1);
const now = (): number => nowMs;
let key: SigningKey;
let credentials: SigningCredentials;

beforeAll(async () => {
  key = await generateSigningKey();
  credentials = createCredentials({ secret, signingKeys: [key], now });
});

describe('passwords', () => {
  test('are kept as argon2id and known again', async () => {
    const hash = await credentials.hashPassword('correct horse');
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await credentials.verifyPassword('correct horse', hash)).toBe(true);
    expect(await credentials.verifyPassword('wrong horse', hash)).toBe(false);
  });

  test('of nobody are refused, whatever they are', async () => {
    expect(await credentials.verifyPassword('nobody has this password', null)).toBe(false);
    expect(await credentials.verifyPassword('x', 'not a hash')).toBe(false);
  });

  test('beyond a size are refused before they cost anything', async () => {
    await expect(credentials.hashPassword('é'.repeat(600))).rejects.toMatchObject({ code: 'PASSWORD_TOO_LONG' });
    const hash = await credentials.hashPassword('');
    expect(await credentials.verifyPassword('x'.repeat(2_000), hash)).toBe(false);
  });

  test('that come in a flood are refused with "later"', async () => {
    const narrow = createCredentials({ secret, hashesMax: 1 });
    const results = await Promise.allSettled(Array.from({ length: 70 }, () => narrow.verifyPassword('x', null)));
    const refused = results.filter((result) => result.status === 'rejected');
    expect(refused).toHaveLength(5);
    for (const result of refused) expect(result.reason).toMatchObject({ code: 'POLICY_BUSY', retry: 'later' });
  });
});

describe('keys', () => {
  test('are 256 random bits in base64url', () => {
    const keys = new Set(Array.from({ length: 100 }, () => credentials.newKey()));
    expect(keys.size).toBe(100);
    for (const one of keys) expect(one).toMatch(/^[\w-]{43}$/);
  });

  test('are looked up by a digest that depends on the secret', () => {
    expect(credentials.digest('k')).toMatch(/^[0-9a-f]{64}$/);
    expect(credentials.digest('k')).toBe(createCredentials({ secret }).digest('k'));
    expect(credentials.digest('k')).not.toBe(createCredentials({ secret: otherSecret }).digest('k'));
    expect(credentials.digest('k')).not.toBe(createHmac('sha256', secret).update('k').digest('hex'));
  });
});

describe('encryption', () => {
  test('gives the text back to its owner only, and never the same twice', () => {
    const sealed = credentials.encrypt('a key ☃', 't1');
    expect(credentials.decrypt(sealed, 't1')).toBe('a key ☃');
    expect(credentials.encrypt('a key ☃', 't1')).not.toBe(sealed);
    expect(() => credentials.decrypt(sealed, 't2')).toThrow('SEALED_TEXT_INVALID');
    expect(() => createCredentials({ secret: otherSecret }).decrypt(sealed, 't1')).toThrow('SEALED_TEXT_INVALID');
  });

  test('notices every changed byte, cuts and nonsense, and tells no secret', () => {
    const sealed = credentials.encrypt('top secret', 't1');
    const bytes = Buffer.from(sealed.slice(3), 'base64url');
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] as number) ^ 1;
      expect(() => credentials.decrypt(`v1.${changed.toString('base64url')}`, 't1')).toThrow('SEALED_TEXT_INVALID');
    }
    for (const odd of ['', 'v1.', 'v2.AAAA', sealed.slice(0, -8), 'plain']) {
      expect(() => credentials.decrypt(odd, 't1')).toThrow('SEALED_TEXT_INVALID');
    }
    const wrong = (): string => credentials.decrypt(sealed, 'other');
    expect(wrong).not.toThrow(/secret|t1/);
  });

  test('needs a secret of 32 bytes', () => {
    expect(() => createCredentials({ secret: new Uint8Array(16) })).toThrow('SECRET_INVALID');
  });
});

describe('access tokens', () => {
  const forge = (sign: (jwt: SignJWT) => SignJWT, claims: Record<string, unknown> = {}): SignJWT =>
    sign(
      new SignJWT({
        iss: 'millrace',
        aud: 'millrace',
        sub: 'u1',
        ep: 3,
        exp: Math.floor(nowMs / 1_000) + 60,
        ...claims,
      }),
    );
  const header = { alg: 'ES256', typ: 'at+jwt' } as const;
  const privateKey = () => createPrivateKey({ key, format: 'jwk' });

  test('name their user for 15 minutes', async () => {
    const token = await credentials.issueAccessToken('u1', 3);
    expect(await credentials.verifyAccessToken(token)).toEqual({ subject: 'u1', epoch: 3, expiresMs: nowMs + 900_000 });
    nowMs += 899_999;
    expect(await credentials.verifyAccessToken(token)).not.toBeNull();
    nowMs += 1;
    expect(await credentials.verifyAccessToken(token)).toBeNull();
  });

  test('live as long as was asked for, an hour at most', async () => {
    const lives = async (seconds: number): Promise<number> => {
      const verified = await credentials.verifyAccessToken(await credentials.issueAccessToken('t1', 0, seconds));
      return ((verified?.expiresMs ?? 0) - nowMs) / 1_000;
    };
    expect([await lives(60), await lives(3_600), await lives(1e9), await lives(0.5)]).toEqual([60, 3_600, 3_600, 1]);
  });

  test('of a key that was rotated out of signing still hold; of one that is gone do not', async () => {
    const rotating = createCredentials({ secret, signingKeys: [key], now });
    const old = await rotating.issueAccessToken('u1', 3);
    const next = await generateSigningKey();
    rotating.importSigningKeys([next, key]);
    expect(await rotating.verifyAccessToken(old)).toMatchObject({ subject: 'u1' });
    expect(await credentials.verifyAccessToken(await rotating.issueAccessToken('u1', 3))).toBeNull();
    rotating.importSigningKeys([next]);
    expect(await rotating.verifyAccessToken(old)).toBeNull();
  });

  test('are ES256 and nothing else: not "none", not an HMAC by the public key', async () => {
    const claims = { iss: 'millrace', aud: 'millrace', sub: 'u1', exp: Math.floor(nowMs / 1_000) + 60 };
    expect(await credentials.verifyAccessToken(new UnsecuredJWT(claims).encode())).toBeNull();
    const pem = createPublicKey(privateKey()).export({ type: 'spki', format: 'pem' }).toString();
    const symmetric = forge((jwt) => jwt.setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: key.kid }));
    expect(await credentials.verifyAccessToken(await symmetric.sign(Buffer.from(pem)))).toBeNull();
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
    const asymmetric = forge((jwt) => jwt.setProtectedHeader({ alg: 'RS256', typ: 'at+jwt', kid: key.kid }));
    expect(await credentials.verifyAccessToken(await asymmetric.sign(rsa))).toBeNull();
  });

  test('must bear the right type, issuer, audience, user and end, and a known key', async () => {
    const kid = key.kid;
    const good = forge((jwt) => jwt.setProtectedHeader({ ...header, kid }));
    expect(await credentials.verifyAccessToken(await good.sign(privateKey()))).toMatchObject({ subject: 'u1' });
    const bad = [
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid, typ: 'JWT' })),
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid: 'other' })),
      forge((jwt) => jwt.setProtectedHeader(header)),
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid }), { iss: 'other' }),
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid }), { aud: 'other' }),
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid }), { sub: undefined }),
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid }), { exp: undefined }),
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid }), { ep: undefined }),
      forge((jwt) => jwt.setProtectedHeader({ ...header, kid }), { ep: '3' }),
    ];
    for (const jwt of bad) expect(await credentials.verifyAccessToken(await jwt.sign(privateKey()))).toBeNull();
    for (const odd of ['', '.', '..', 'a.b.c', 'x'.repeat(10_000)]) {
      expect(await credentials.verifyAccessToken(odd)).toBeNull();
    }
  });

  test('show their public keys and never a private one', () => {
    const { keys } = credentials.jwks();
    expect(keys).toEqual([{ kty: 'EC', crv: 'P-256', x: key.x, y: key.y, kid: key.kid, alg: 'ES256', use: 'sig' }]);
  });

  test('can not be issued without a key; a broken key is refused without being told', async () => {
    const bare = createCredentials({ secret });
    await expect(bare.issueAccessToken('u1', 3)).rejects.toMatchObject({ code: 'SIGNING_KEY_MISSING' });
    const { d, ...publicOnly } = key;
    expect(() => bare.importSigningKeys([publicOnly])).toThrow('SIGNING_KEY_INVALID');
    expect(() => bare.importSigningKeys([{ ...key, d: 'broken' }])).toThrow(/^SIGNING_KEY_INVALID$/);
  });
});
