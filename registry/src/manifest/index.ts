import type { Route } from '../http/route.ts';
import { lockOrg } from '../inventory/org-lock.ts';
import type { Parts, Topic } from '../parts.ts';
import { carryOut, type Makers } from './apply.ts';
import { manifestRoutes as routes } from './manifest-routes.ts';
import type { Plan } from './plan.ts';
import { readState, readVersion, type State } from './state.ts';

/** An organisation as one document. */
export interface Manifests extends Topic {
  /** All that a manifest can tell of it, at one moment.  @throws Refusal 422 if it is too large for that */
  state(org: string): Promise<State>;
  /** Carries a plan out, all of it or nothing. Those of one organisation take turns.
   *  @param author who writes policies; null if it is no user  @param summary for the audit
   *  @returns the version of the state that it leaves; null, with nothing done, if the state is not the plan's any more
   *  @throws RegistryError REGISTRY_VERSION_MISMATCH if that came to light only later, and as each change */
  apply(
    org: string,
    plan: Plan,
    author: string | null,
    makers: Makers,
    summary: Readonly<Record<string, number>>,
  ): Promise<string | null>;
}

export function createManifests({ database, feed }: Parts): Manifests {
  return {
    state: (org) => readState(database, org),
    apply: (org, plan, author, makers, summary) =>
      feed.transaction(async (tx) => {
        await lockOrg(tx, 'manifest', org);
        if ((await readVersion(tx, org)) !== plan.state.version) return null;
        await carryOut(tx, org, plan, author, makers);
        tx.audit({ action: 'orgs.apply', entity: 'orgs', id: org, org, detail: summary });
        return readVersion(tx, org);
      }),
  };
}

export const manifestRoutes: readonly Route[] = routes;
