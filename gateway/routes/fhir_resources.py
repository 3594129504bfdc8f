"""How records are written as FHIR resources: for one consumer, in one version."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config import Settings
from gateway.model import Consumer, Endpoint, Study
from gateway.rules import endpoints, fhir_patient, fhir_subsets
from gateway.rules.endpoints import Carried
from gateway.rules.fhir_elements import Resource
from gateway.rules.fhir_results import Wanted
from gateway.rules.fhir_versions import Version
from gateway.rules.imaging_study import imaging_study
from gateway.rules.patient_ids import PatientIds


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Writes resources; `patients` are those that are resources themselves."""

    settings: Settings
    patients: PatientIds
    consumer: Consumer
    version: Version

    def carried(self, study: Study) -> Carried:
        """The Endpoints that a study and its series refer to."""
        of_study, of_series = endpoints.of_gateway(self.settings, study, consumer=self.consumer)
        return Carried(study=of_study, series=of_series)

    def published(self) -> tuple[Endpoint, ...]:
        """All Endpoints that the caller is told of."""
        return endpoints.published(self.settings, self.consumer)

    def imaging_study(self, study: Study) -> Resource:
        """The ImagingStudy of a record, as deep as it is loaded."""
        fhir, shape = self.settings.fhir, self.version.shape
        written = imaging_study(study, shape, self.carried(study), fhir, self.patients)
        return fhir_subsets.subsetted(written) if study.is_subset else written

    def patient_id(self, study: Study) -> str | None:
        """The id of the Patient that a study is about; None: that is no resource."""
        return self.patients.id_of(study.patient)

    def patient(self, study: Study) -> Resource | None:
        """The Patient as this study of theirs tells it; None: they are no resource."""
        resource_id = self.patient_id(study)
        if resource_id is None:
            return None
        kind = self.settings.fhir.patient_identifier_type
        return fhir_patient.patient(study.patient, resource_id, kind)

    def endpoint(self, endpoint: Endpoint) -> Resource:
        """An Endpoint."""
        return self.version.endpoint(endpoint)

    def served(self, resource: Resource, wanted: Wanted | None = None) -> Resource:
        """A resource as far as it is wanted; whole, as a read gives it, where nothing is said."""
        return fhir_subsets.served(resource, wanted or Wanted(), self.version.number)
