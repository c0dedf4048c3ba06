import { isUuid } from '@millrace/core';
import type { AdapterPayload } from 'oidc-provider';
import type { Session } from '../database/database.ts';
import { type AppKind, keepsSecret } from './kinds.ts';

interface ClientRow {
  readonly id: string;
  readonly name: string;
  readonly kind: AppKind;
  readonly redirectUris: string[];
  readonly postLogoutRedirectUris: string[];
  readonly scopes: string[];
  readonly logo: string | null;
  readonly homepage: string | null;
  readonly org: string;
  readonly orgName: string;
  readonly digests: string[];
}
/** What we keep of a client beside what OAuth knows: members of its metadata, as they are. */
export interface ClientExtras {
  readonly org: string;
  readonly orgName: string;
  readonly secretDigests: readonly string[];
}
export const clientExtras: readonly (keyof ClientExtras)[] = ['org', 'orgName', 'secretDigests'];

const CLIENT = `SELECT apps.id, apps.name, kind, redirect_uris AS "redirectUris", post_logout_redirect_uris AS "postLogoutRedirectUris",
    scopes, logo, homepage, apps.org, orgs.name AS "orgName",
    array_remove(ARRAY[secret_digest, CASE WHEN previous_secret_until > now() THEN previous_secret_digest END], NULL) AS digests
  FROM registry.apps JOIN registry.orgs ON orgs.id = apps.org LEFT JOIN registry.things ON things.id = apps.thing
  WHERE apps.id = $1 AND apps.enabled AND NOT orgs.frozen AND (things.id IS NULL OR things.enabled)`;

/** An application as oidc-provider knows it; undefined if there is none, or it is disabled.
 *  @param id of anybody's choice */
export async function clientOf(session: Session, id: string): Promise<AdapterPayload | undefined> {
  if (!isUuid(id)) return undefined;
  const [row] = await session.query<ClientRow>(CLIENT, [id]);
  if (row === undefined || row.id !== id) return undefined;
  const machine = row.kind === 'machine';
  const extras: ClientExtras = { org: row.org, orgName: row.orgName, secretDigests: row.digests };
  return {
    client_id: row.id,
    client_name: row.name,
    ...(row.logo === null ? {} : { logo_uri: row.logo }),
    ...(row.homepage === null ? {} : { client_uri: row.homepage }),
    application_type: row.kind === 'native' ? 'native' : 'web',
    grant_types: machine ? ['client_credentials'] : ['authorization_code', 'refresh_token'],
    response_types: machine ? [] : ['code'],
    redirect_uris: row.redirectUris,
    post_logout_redirect_uris: row.postLogoutRedirectUris,
    ...(row.scopes.length === 0 ? {} : { scope: row.scopes.join(' ') }),
    // What it stands for is compared by its digest; this one opens nothing, but one must be there.
    ...(keepsSecret(row.kind)
      ? { token_endpoint_auth_method: 'client_secret_basic', client_secret: row.digests[0] ?? '-' }
      : { token_endpoint_auth_method: 'none' }),
    ...extras,
  } as AdapterPayload;
}
