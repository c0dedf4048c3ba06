import type { Credentials } from '@millrace/core';
import type { Configuration } from 'openid-client';
import type { Parts } from '../parts.ts';
import type { OutsideIdentity } from './identities.ts';

/** A login that is on its way to the other provider and back; kept by the browser alone, sealed. */
export interface PendingLogin {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  /** Where the code goes; null: shown on a page. */
  readonly redirect: string | null;
  readonly challenge: string | null;
  readonly interaction: string | null;
  readonly untilMs: number;
}
export type PendingRequest = Pick<PendingLogin, 'redirect' | 'challenge' | 'interaction'>;

/** Login by an OpenID Connect provider that is not ours. */
export interface Outside {
  readonly enabled: boolean;
  readonly name: string;
  /** What a page of login leads there by; null where none is set up. */
  entrance(interaction?: string): { readonly name: string; readonly url: string } | null;
  /** @returns where to send the browser, and what it must bring back
   *  @throws what the network does, if that provider does not answer */
  begin(request: PendingRequest): Promise<{ readonly url: string; readonly sealed: string }>;
  /** null if it is none of ours, or too old. */
  pending(sealed: string): PendingLogin | null;
  /** Checks what the browser came back with, and asks the provider who it is.
   *  @param query of the URL that it came back to
   *  @throws what that provider or the network says; it proves nothing then */
  complete(query: string, pending: PendingLogin): Promise<OutsideIdentity>;
}

export const CALLBACK_PATH = '/login/oidc/callback';
export const PENDING_SECONDS = 600;
const SEALED_ABOUT = 'login at another provider';
const ANSWER_SECONDS_MAX = 10;

type Client = typeof import('openid-client');

export function createOutside(parts: Parts): Outside {
  const { config, credentials, now } = parts;
  const { MILLRACE_OIDC_ISSUER: issuer, MILLRACE_OIDC_CLIENT_ID: clientId, MILLRACE_OIDC_NAME: name } = config;
  const enabled = issuer !== undefined && clientId !== undefined;
  if (!enabled && (issuer !== undefined || clientId !== undefined))
    parts.logger.warn(
      'login by another provider needs both MILLRACE_OIDC_ISSUER and MILLRACE_OIDC_CLIENT_ID: it is off',
    );
  let discovered: Promise<{ client: Client; configuration: Configuration }> | undefined;
  /** Once, but a failure is tried again. */
  const discover = async (): Promise<{ client: Client; configuration: Configuration }> => {
    discovered ??= discovery(issuer ?? '', clientId ?? '', config.MILLRACE_OIDC_CLIENT_SECRET);
    try {
      return await discovered;
    } catch (error) {
      discovered = undefined;
      throw error;
    }
  };
  const callback = (): string => `${parts.publicUrl()}${CALLBACK_PATH}`;

  return {
    enabled,
    name,
    entrance(interaction) {
      if (!enabled) return null;
      const query = interaction === undefined ? '' : `?interaction=${encodeURIComponent(interaction)}`;
      return { name, url: `${new URL(parts.publicUrl()).pathname.replace(/\/$/, '')}/login/oidc${query}` };
    },
    async begin(request) {
      const { client, configuration } = await discover();
      const verifier = client.randomPKCECodeVerifier();
      const pending: PendingLogin = {
        ...request,
        state: client.randomState(),
        nonce: client.randomNonce(),
        verifier,
        untilMs: now() + PENDING_SECONDS * 1_000,
      };
      const url = client.buildAuthorizationUrl(configuration, {
        redirect_uri: callback(),
        scope: config.MILLRACE_OIDC_SCOPES,
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        state: pending.state,
        nonce: pending.nonce,
      });
      return { url: url.href, sealed: seal(credentials, pending) };
    },
    pending(sealed) {
      const pending = open(credentials, sealed);
      return pending === null || pending.untilMs <= now() ? null : pending;
    },
    async complete(query, { state, nonce, verifier }) {
      const { client, configuration } = await discover();
      // The URL as that provider knows it, whatever stands between it and us.
      const url = new URL(`${callback()}${query}`);
      const tokens = await client.authorizationCodeGrant(configuration, url, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (claims === undefined) throw new TypeError('a grant without an ID token');
      const { iss, sub } = claims;
      const asked = claims.email === undefined && configuration.serverMetadata().userinfo_endpoint !== undefined;
      const more = asked ? await client.fetchUserInfo(configuration, tokens.access_token, sub) : {};
      const {
        email,
        email_verified: verified,
        name: called,
      }: Readonly<Record<string, unknown>> = { ...more, ...claims };
      return {
        issuer: iss,
        subject: sub,
        email: typeof email === 'string' && verified === true ? email : null,
        name: typeof called === 'string' ? called.slice(0, 256) : null,
      };
    },
  };
}

/** The library is loaded here, so that who has no such provider pays nothing. */
async function discovery(
  issuer: string,
  clientId: string,
  secret: string | undefined,
): Promise<{ client: Client; configuration: Configuration }> {
  const client = await import('openid-client');
  const configuration = await client.discovery(
    new URL(issuer),
    clientId,
    secret,
    secret === undefined ? client.None() : undefined,
    {
      timeout: ANSWER_SECONDS_MAX,
      // Only the loopback may be http: the settings are checked.
      ...(issuer.startsWith('http:') ? { execute: [client.allowInsecureRequests] } : {}),
    },
  );
  return { client, configuration };
}

const seal = (credentials: Credentials, pending: PendingLogin): string =>
  Buffer.from(credentials.encrypt(JSON.stringify(pending), SEALED_ABOUT)).toString('base64url');

function open(credentials: Credentials, sealed: string): PendingLogin | null {
  try {
    const text = Buffer.from(sealed, 'base64url').toString('utf8');
    return JSON.parse(credentials.decrypt(text, SEALED_ABOUT)) as PendingLogin;
  } catch {
    return null;
  }
}
