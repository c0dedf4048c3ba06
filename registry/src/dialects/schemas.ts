import { z } from '@hono/zod-openapi';

export const Identified = z.object({ id: z.uuid() }).openapi('Identified');
export const Told = z.object({ msg: z.string() });
/** The first dialect's word for what was done. */
export const Done = z.object({ response: z.string(), id: z.string() }).openapi('Done');
export const Plugged = z.object({ response: z.string() });
export const references = z.array(z.string().min(1).max(128)).min(1).max(1_000);
export const metadata = z.record(z.string(), z.unknown());
