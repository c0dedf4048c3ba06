import { MillraceError } from '@millrace/core';

/** What a gate throws that can't ask the registry. */
export class RegistryAway extends MillraceError<'REGISTRY_UNREACHABLE'> {
  constructor() {
    super('REGISTRY_UNREACHABLE', 'later');
  }
}
