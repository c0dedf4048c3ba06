import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { type BroughtAuthorities, createBrought } from './brought.ts';
import { broughtRoutes } from './brought-routes.ts';
import { certificateRoutes } from './certificate-routes.ts';
import { type Certificates, createCertificates } from './certificates.ts';
import { createIssued, type IssuedCertificates } from './issued.ts';
import { issuedRoutes } from './issued-routes.ts';
import { issuerRoutes } from './issuer-routes.ts';
import { createIssuers, type Issuers } from './issuers.ts';
import { createJustInTime } from './jit.ts';
import { createOcsp, type Ocsp } from './ocsp.ts';
import { createRevocationLists, type RevocationLists } from './revocation-list.ts';

/** What lets a thing in by TLS, and the authorities that issue it. */
export interface Authority extends Topic {
  readonly certificates: Certificates;
  readonly issued: IssuedCertificates;
  readonly issuers: Issuers;
  readonly revocationLists: RevocationLists;
  readonly ocsp: Ocsp;
  readonly authorities: BroughtAuthorities;
}

/** What was superseded ends at most so much later for who is connected; a new connection finds it ended at once. */
const SWEEP_MS = 5_000;

export function createAuthority(parts: Parts): Authority {
  const { database, feed, now, logger } = parts;
  const issuers = createIssuers(parts);
  const issued = createIssued(parts, issuers);
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> = Promise.resolve();
  let stopped = false;
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      sweeping = issued
        .sweep()
        .catch((error: unknown) => logger.warn({ err: error }, 'can not end superseded certificates; tries again'))
        .finally(schedule);
    }, SWEEP_MS);
    timer.unref();
  };
  return {
    certificates: createCertificates({ session: database, feed, justInTime: createJustInTime(parts), now }),
    issued,
    issuers,
    revocationLists: createRevocationLists(parts, issuers),
    ocsp: createOcsp(database, issuers, now),
    authorities: createBrought(parts),
    async start() {
      schedule();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await sweeping;
    },
  };
}

export const authorityRoutes: readonly Route[] = [
  ...certificateRoutes,
  // What has a name goes before /certs/{serial}.
  ...issuerRoutes,
  ...broughtRoutes,
  ...issuedRoutes,
];
