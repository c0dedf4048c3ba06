import type { WebhookStore } from '@millrace/core';
import type { Access } from '../access/index.ts';
import type { Applications } from '../applications/index.ts';
import type { Route } from '../http/route.ts';
import { scopeOf } from '../jobs/rights.ts';
import type { Parts } from '../parts.ts';
import { createDeliveries, type DeliveryRecords } from './deliveries.ts';
import { webhookDeliveryRoutes } from './delivery-routes.ts';
import { webhookRoutes as settingRoutes } from './routes.ts';
import { createWebhooks, type Webhooks } from './webhooks.ts';

/** Webhooks of organisations: what they are, and how far they have come. */
export interface WebhookTopic {
  readonly webhooks: Webhooks;
  readonly records: DeliveryRecords;
  /** For who delivers them. */
  readonly store: WebhookStore;
}

export function createWebhookTopic(parts: Parts, access: Access, applications: Applications): WebhookTopic {
  const { database: session, feed, credentials, config, node, now, logger } = parts;
  const { records, ...store } = createDeliveries({
    session,
    feed,
    credentials,
    node,
    now,
    logger,
    async makerOf({ kind, id, via }) {
      if (id === null) return null;
      // A machine's token ends long before its webhook: what counts is the machine.
      if (kind === 'thing' || via === null) return { id, scope: null };
      const scope = await scopeOf({ access, applications }, via);
      return scope === undefined ? null : { id, scope };
    },
  });
  const perOrgMax = config.MILLRACE_WEBHOOKS_PER_ORG_MAX;
  return { webhooks: createWebhooks({ session, feed, credentials, perOrgMax, now }), records, store };
}

export const webhookRoutes: readonly Route[] = [...settingRoutes, ...webhookDeliveryRoutes];
