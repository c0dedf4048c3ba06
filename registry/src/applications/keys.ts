import { generateKeyPairSync, type JsonWebKey, randomBytes } from 'node:crypto';
import { uuidV7 } from '@millrace/core';
import { RegistryError } from '../error.ts';
import type { Parts } from '../parts.ts';

/** What the provider signs with, the newest first. */
export interface ProviderKeys {
  /** Private JWKs, ES256. */
  readonly signature: readonly JsonWebKey[];
  readonly cookie: readonly string[];
}

type Purpose = 'signature' | 'cookie';

/** The keys of the cluster; the first node that asks makes the first. They rest sealed.
 *  @throws RegistryError REGISTRY_SECRET_MISMATCH */
export function openProviderKeys({ database, credentials }: Parts): Promise<ProviderKeys> {
  return database.transaction(async (tx) => {
    // Two nodes at once must not make two sets: the second waits here and finds those of the first.
    await tx.query('LOCK TABLE registry.oauth_keys IN SHARE ROW EXCLUSIVE MODE');
    const rows = await tx.query<{ id: string; purpose: Purpose; sealed: string }>(
      'SELECT id, purpose, sealed FROM registry.oauth_keys ORDER BY created_at DESC, id DESC',
    );
    const open = async (purpose: Purpose, make: () => string): Promise<string[]> => {
      const found = rows.filter((row) => row.purpose === purpose).map(({ id, sealed }) => opened(id, sealed));
      if (found.length > 0) return found;
      const id = uuidV7();
      const made = make();
      await tx.query('INSERT INTO registry.oauth_keys (id, purpose, sealed) VALUES ($1, $2, $3)', [
        id,
        purpose,
        credentials.encrypt(made, id),
      ]);
      return [made];
    };
    const signature = await open('signature', newSigningKey);
    const cookie = await open('cookie', () => randomBytes(32).toString('base64url'));
    return { signature: signature.map((text) => JSON.parse(text) as JsonWebKey), cookie };
  });

  function opened(id: string, sealed: string): string {
    try {
      return credentials.decrypt(sealed, id);
    } catch {
      // No cause: it could tell of the plain text.
      const advice = 'this database was made with another MILLRACE_SECRET: start with that one';
      throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { oauthKey: id, advice });
    }
  }
}

function newSigningKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: uuidV7(), alg: 'ES256', use: 'sig' });
}
