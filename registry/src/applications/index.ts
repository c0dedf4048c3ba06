import type { Holder } from '@millrace/core';
import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { Throttle } from '../people/throttle.ts';
import { appRoutes } from './app-routes.ts';
import { type Apps, createApps } from './apps.ts';
import { createGateway, type Gateway } from './gateway.ts';
import { grantRoutes } from './grant-routes.ts';
import { createOauthGrants, type OauthGrants } from './grants.ts';
import { type OutsideIdentity, type OutsideLogin, recognise } from './identities.ts';
import { createLoginCodes, type LoginCodes } from './login-codes.ts';
import { oauthRoutes } from './oauth-routes.ts';
import { createOutside, type Outside } from './outside.ts';
import { outsideRoutes } from './outside-routes.ts';
import { createSweep } from './sweep.ts';

/** OAuth 2.0 and OpenID Connect: who may act for others, and with which tokens. */
export interface Applications extends Topic, Gateway {
  readonly apps: Apps;
  readonly grants: OauthGrants;
  readonly outside: Outside;
  readonly loginCodes: LoginCodes;
  /** Of authorizations and logins that are begun, by address: each is kept until somebody comes back. */
  readonly starting: Throttle;
  /** Who holds an access token of ours, by its digest. */
  holder(digest: string): Promise<Holder | null>;
  /** @param selfRegister whether strangers may register anyway */
  recognise(identity: OutsideIdentity, selfRegister: boolean): Promise<OutsideLogin>;
  /** What stands before all paths where clients reach us: "" mostly. */
  prefix(): string;
  /** Whether clients reach us by https. */
  secure(): boolean;
}

const STARTS_FREE = 300;
/** Many people may sit behind one address: so often somebody may begin all day long. */
const START_FORGIVEN_MS = 250;
const START_WAIT_MS_MAX = 2_000;

export function createApplications(parts: Parts): Applications {
  const grants = createOauthGrants(parts);
  return {
    ...createSweep(parts),
    ...createGateway(parts),
    apps: createApps(parts),
    grants,
    outside: createOutside(parts),
    loginCodes: createLoginCodes(parts),
    starting: new Throttle({ free: STARTS_FREE, waitMsMax: START_WAIT_MS_MAX, forgivenMs: START_FORGIVEN_MS }),
    holder: (digest) => grants.holder(digest),
    recognise: (identity, selfRegister) =>
      recognise(parts, identity, parts.config.MILLRACE_OIDC_REGISTER ?? selfRegister),
    prefix: () => new URL(parts.publicUrl()).pathname.replace(/\/$/, ''),
    secure: () => parts.publicUrl().startsWith('https:'),
  };
}

export const applicationRoutes: readonly Route[] = [...appRoutes, ...grantRoutes, ...oauthRoutes, ...outsideRoutes];
