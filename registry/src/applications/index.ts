import type { Holder } from '@millrace/core';
import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';

/** OAuth 2.0 and OpenID Connect: who may act for others, and with which tokens. */
export interface Applications extends Topic {
  /** Who holds an access token of ours, by its digest. */
  holder(digest: string): Promise<Holder | null>;
}

export function createApplications(_parts: Parts): Applications {
  return { holder: async () => null };
}

export const applicationRoutes: readonly Route[] = [];
