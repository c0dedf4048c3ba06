import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { certificateRoutes } from './certificate-routes.ts';
import { type Certificates, createCertificates } from './certificates.ts';

/** What lets a thing in by TLS, and the authorities that issue it. */
export interface Authority extends Topic {
  readonly certificates: Certificates;
}

export function createAuthority({ database, feed, now }: Parts): Authority {
  return { certificates: createCertificates(database, feed, now) };
}

export const authorityRoutes: readonly Route[] = [...certificateRoutes];
