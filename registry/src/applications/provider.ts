import { timingSafeEqual } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { APPLICATION_TOKEN_PREFIX, type Credentials, isUuid, type Logger } from '@millrace/core';
import type Provider from 'oidc-provider';
import type { Account, Configuration, KoaContextWithOIDC } from 'oidc-provider';
import type { Session } from '../database/database.ts';
import type { Parts } from '../parts.ts';
import { createAdapter } from './adapter.ts';
import { type ClientExtras, clientExtras } from './clients.ts';
import { openProviderKeys } from './keys.ts';
import { errorPage, loggedOutPage, logoutPage, pageHeaders } from './pages.ts';
import { scopeNames } from './scopes.ts';

/** Paths of the provider, below the issuer. */
export const providerPaths = {
  authorization: '/oauth/authorize',
  token: '/oauth/token',
  introspection: '/oauth/introspect',
  revocation: '/oauth/revoke',
  userinfo: '/oauth/userinfo',
  jwks: '/oauth/jwks',
  end_session: '/oauth/logout',
} as const;
export const INTERACTION_PATH = '/oauth/interaction';

const MINUTE = 60;
const DAY = 86_400;
const CODE_SECONDS = MINUTE;
const INTERACTION_SECONDS = 30 * MINUTE;
const GRANT_SECONDS = 365 * DAY;
const ID_TOKEN_SECONDS = 15 * MINUTE;

type Client = { readonly clientId: string; readonly clientAuthMethod?: string | undefined };
interface UserRow {
  readonly id: string;
  readonly email: string;
  readonly verified: boolean;
  readonly name: string;
  readonly picture: string | null;
}
const USER = `SELECT id, email, email_verified_at IS NOT NULL AS verified, name, picture FROM registry.users WHERE id = $1 AND enabled`;
const INTROSPECTABLE = `SELECT EXISTS (
    SELECT 1 FROM registry.apps AS asked JOIN registry.orgs ON orgs.id = asked.org LEFT JOIN registry.things ON things.id = asked.thing
      LEFT JOIN registry.users ON users.id = $3 LEFT JOIN registry.oauth_grants ON oauth_grants.id = $4
    WHERE asked.id = $2 AND asked.enabled AND NOT orgs.frozen AND (things.id IS NULL OR things.enabled)
      AND ($3::uuid IS NULL OR users.enabled)
      AND ($1::uuid = asked.id OR EXISTS (SELECT 1 FROM registry.apps AS asking WHERE asking.id = $1
        AND asking.org = CASE WHEN $4::uuid IS NULL THEN asked.org ELSE oauth_grants.org END))) AS may`;

/** The OAuth 2.0 and OpenID Connect provider of the installation: on all nodes the same, since all that it keeps is in
 *  PostgreSQL. Its library is loaded here, so that a node that is never asked pays nothing.
 *  @param issuer where clients reach the platform
 *  @throws RegistryError REGISTRY_UNREACHABLE, REGISTRY_SECRET_MISMATCH */
export async function openProvider(parts: Parts, issuer: string): Promise<Provider> {
  const [{ default: ProviderClass, errors }, keys] = await Promise.all([
    loadLibrary(parts.logger),
    openProviderKeys(parts),
  ]);
  const { config, logger } = parts;
  const spent = (): Error => new errors.InvalidGrant('it has been used already');
  const prefix = new URL(issuer).pathname.replace(/\/$/, '');
  const configuration: Configuration = {
    adapter: createAdapter(parts, spent),
    jwks: { keys: keys.signature as never },
    cookies: {
      keys: [...keys.cookie],
      names: { session: 'millrace_session', interaction: 'millrace_interaction', resume: 'millrace_resume' },
      long: { httpOnly: true, sameSite: 'lax' },
      short: { httpOnly: true, sameSite: 'lax' },
    },
    routes: providerPaths,
    scopes: [...scopeNames],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'picture'] },
    // Most clients look for the e-mail in the ID token.
    conformIdTokenClaims: false,
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    clientDefaults: { id_token_signed_response_alg: 'ES256', grant_types: [], response_types: [] },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
    responseTypes: ['code'],
    extraClientMetadata: { properties: [...clientExtras] },
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      // What the gate does not know of must not be promised.
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      resourceIndicators: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_, client, token) => mayIntrospect(parts.database, client, token),
      },
      revocation: {
        enabled: true,
        allowedPolicy: (_, client, token) => (token as { clientId?: string }).clientId === client.clientId,
      },
      userinfo: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => show(ctx, logoutPage(form), ctx.oidc.params?.post_logout_redirect_uri),
        postLogoutSuccessSource: (ctx) => {
          ctx.status = 200;
          show(ctx, loggedOutPage(ctx.oidc.client?.clientName));
        },
      },
    },
    interactions: { url: (_, interaction) => `${prefix}${INTERACTION_PATH}/${interaction.uid}` },
    findAccount: (_, id) => findAccount(parts.database, id),
    extraTokenClaims: async (_, token) => extraClaims(parts.database, token),
    clientBasedCORS: (_, origin, client) =>
      client.clientAuthMethod === 'none' &&
      (client.redirectUris ?? []).some((uri) => URL.canParse(uri) && new URL(uri).origin === origin),
    expiresWithSession: async () => false,
    rotateRefreshToken: true,
    renderError: (ctx, out) => show(ctx, errorPage(out.error, out.error_description ?? '')),
    ttl: {
      AccessToken: config.MILLRACE_OAUTH_ACCESS_TOKEN_SECONDS,
      ClientCredentials: config.MILLRACE_OAUTH_ACCESS_TOKEN_SECONDS,
      AuthorizationCode: CODE_SECONDS,
      IdToken: ID_TOKEN_SECONDS,
      RefreshToken: config.MILLRACE_OAUTH_REFRESH_TOKEN_DAYS * DAY,
      Interaction: INTERACTION_SECONDS,
      Session: config.MILLRACE_OAUTH_SESSION_HOURS * 60 * MINUTE,
      Grant: GRANT_SECONDS,
    },
  };
  const provider = new ProviderClass(issuer, configuration);
  // The control plane stands before it, and says who asks.
  provider.proxy = true;
  compareByDigest(provider, parts.credentials);
  markTokens(provider);
  // An event of Koa's own, which the types do not tell of.
  (provider as EventEmitter).on('error', (error) => logger.error({ err: error }, 'the OAuth provider failed'));
  return provider;
}

/** It tells the console that it wants Node 22; what is used of it runs on Node 20 too, as the tests show. Our log is JSON
 *  lines, so it is told there. */
async function loadLibrary(logger: Logger): Promise<typeof import('oidc-provider')> {
  const { warn } = console;
  console.warn = (...told: unknown[]) => logger.debug({ told: told.map(String) }, 'while the OAuth provider is loaded');
  try {
    return await import('oidc-provider');
  } finally {
    console.warn = warn;
  }
}

/** Secrets of applications are kept as digests, two of them while one is rotated. */
function compareByDigest(provider: Provider, credentials: Credentials): void {
  provider.Client.prototype.compareClientSecret = function (actual: string): boolean {
    const { secretDigests } = this as unknown as ClientExtras;
    const digest = Buffer.from(credentials.digest(actual));
    let right = false;
    for (const known of secretDigests.map((each) => Buffer.from(each)))
      if (known.length === digest.length && timingSafeEqual(known, digest)) right = true;
    return right;
  };
}

/** Tells access tokens from keys of things where nothing but the secret is shown, as in MQTT's password. */
function markTokens(provider: Provider): void {
  for (const kind of [provider.AccessToken, provider.ClientCredentials]) {
    const tokens = kind.prototype as unknown as { generateTokenId(): string };
    const { generateTokenId } = tokens;
    tokens.generateTokenId = function () {
      return APPLICATION_TOKEN_PREFIX + generateTokenId.call(this);
    };
  }
}

async function findAccount(session: Session, id: string): Promise<Account | undefined> {
  if (!isUuid(id)) return undefined;
  const [user] = await session.query<UserRow>(USER, [id]);
  if (user === undefined) return undefined;
  return {
    accountId: user.id,
    claims: () => ({
      sub: user.id,
      email: user.email,
      email_verified: user.verified,
      name: user.name === '' ? user.email : user.name,
      ...(user.picture === null ? {} : { picture: user.picture }),
    }),
  };
}

/** Whose token it is may ask, and who guards something in the organisation that the token is good for. A token of who is
 *  disabled is none. */
async function mayIntrospect(session: Session, client: Client, token: object): Promise<boolean> {
  const { clientId, accountId, grantId } = token as { clientId?: string; accountId?: string; grantId?: string };
  if (client.clientAuthMethod === 'none') return false;
  const [row] = await session.query<{ may: boolean }>(INTROSPECTABLE, [
    client.clientId,
    clientId ?? null,
    accountId ?? null,
    grantId ?? null,
  ]);
  return row?.may ?? false;
}

/** Told by introspection: the organisation that a token is good for. */
async function extraClaims(session: Session, token: object): Promise<Record<string, string> | undefined> {
  const { clientId, grantId } = token as { clientId?: string; grantId?: string };
  const [row] =
    grantId === undefined
      ? await session.query<{ org: string | null }>('SELECT org FROM registry.apps WHERE id = $1', [clientId ?? null])
      : await session.query<{ org: string | null }>('SELECT org FROM registry.oauth_grants WHERE id = $1', [grantId]);
  return row === undefined || row.org === null ? undefined : { org: row.org };
}

/** @param onward where the page's form may lead
 *  @holds the status is what the library chose */
function show(ctx: KoaContextWithOIDC, page: string, onward?: unknown): void {
  const { status } = ctx;
  ctx.set(pageHeaders(typeof onward === 'string' ? onward : null));
  ctx.body = page;
  ctx.status = status;
}
