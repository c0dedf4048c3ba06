import type { Plane } from '../http/plane.ts';
import type { Parts } from '../parts.ts';
import { createImports, type Imports } from './imports.ts';
import { importWork } from './work.ts';

export { importRoutes } from './routes.ts';

export interface ImportTopic extends Imports {
  /** Has this node carry out imports, if it has a log to put them on. */
  work(plane: Plane): void;
}

export function createImportTopic({ database, feed, config }: Parts): ImportTopic {
  const bytesMax = config.MILLRACE_IMPORTS_BYTES_MAX;
  const imports = createImports(database, feed, bytesMax);
  return {
    ...imports,
    work(plane) {
      const { intake } = plane;
      if (intake === null) return;
      const lagMessagesMax = config.MILLRACE_IMPORTS_LAG_MESSAGES_MAX;
      plane.registry.jobs.undertake('imports.create', importWork({ plane, intake, imports, bytesMax, lagMessagesMax }));
    },
  };
}
