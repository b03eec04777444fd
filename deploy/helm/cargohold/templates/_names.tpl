{{- define "cargohold.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cargohold.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "cargohold.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "cargohold.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cargohold.selector" -}}
app.kubernetes.io/name: {{ include "cargohold.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "cargohold.labels" -}}
{{ include "cargohold.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cargohold.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cargohold.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cargohold.claim" -}}
{{- default (include "cargohold.fullname" .) .Values.persistence.existingClaim -}}
{{- end -}}

{{- define "cargohold.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The name of the Secret with the users; nothing where there is none. */}}
{{- define "cargohold.usersSecret" -}}
{{- if .Values.users.existingSecret -}}
{{- .Values.users.existingSecret -}}
{{- else if .Values.users.htpasswd -}}
{{- printf "%s-users" (include "cargohold.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* The name of the Secret with the certificate; nothing where there is none. */}}
{{- define "cargohold.tlsSecret" -}}
{{- if .Values.tls.existingSecret -}}
{{- .Values.tls.existingSecret -}}
{{- else if .Values.tls.certificate -}}
{{- printf "%s-tls" (include "cargohold.fullname" .) -}}
{{- end -}}
{{- end -}}
