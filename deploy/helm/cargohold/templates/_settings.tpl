{{/* The settings of the registry: those of the values, and those that follow from what the chart mounts. */}}
{{- define "cargohold.settings" -}}
{{- $settings := dict "port" 5000 "storage" (dict "path" "/var/lib/cargohold") -}}
{{- if include "cargohold.usersSecret" . -}}
{{- $_ := set $settings "auth" (dict "htpasswd" "/etc/cargohold/users/htpasswd") -}}
{{- end -}}
{{- if include "cargohold.tlsSecret" . -}}
{{- $files := dict "certificate" "/etc/cargohold/tls/tls.crt" "key" "/etc/cargohold/tls/tls.key" -}}
{{- $_ := set $settings "tls" $files -}}
{{- end -}}
{{- $settings = mergeOverwrite $settings (deepCopy .Values.config) -}}
{{- $auth := default dict $settings.auth -}}
{{- $bearer := default dict $auth.bearer -}}
{{- if not (or $auth.htpasswd $auth.required $auth.open_to_everyone $auth.oidc $bearer.key $bearer.jwks $bearer.jwks_url) -}}
{{- $_ := set $settings "auth" (merge (dict "required" true) $auth) -}}
{{- end -}}
{{- toPrettyJson $settings -}}
{{- end -}}

{{- define "cargohold.scheme" -}}
{{- $settings := include "cargohold.settings" . | fromJson -}}
{{- ternary "https" "http" (hasKey (default dict $settings.tls) "certificate") -}}
{{- end -}}

{{/* Something that the cluster asks the registry. It has no certificate of its own to show: where one is required, it
looks whether the port is open. */}}
{{- define "cargohold.probe" -}}
{{- $settings := include "cargohold.settings" .root | fromJson -}}
{{- $tls := default dict $settings.tls -}}
{{- if and $tls.client_ca (ne (default "require" $tls.client_certificates) "request") -}}
tcpSocket:
  port: registry
{{- else -}}
httpGet:
  path: {{ printf "%s%s" (default "" $settings.prefix) .path }}
  port: registry
  scheme: {{ include "cargohold.scheme" .root | upper }}
{{- end -}}
{{- end -}}

{{/* Whether the settings name something that the registry connects to. */}}
{{- define "cargohold.connects" -}}
{{- $auth := default dict .Values.config.auth -}}
{{- $tracing := default dict .Values.config.tracing -}}
{{- if or $auth.oidc (default dict $auth.bearer).jwks_url $tracing.endpoint -}}yes{{- end -}}
{{- end -}}

{{/* Whether two pods may be there at once, on one node. */}}
{{- define "cargohold.together" -}}
{{- if or .Values.rolling (gt (int .Values.replicas) 1) -}}
{{- if and .Values.persistence.enabled (eq .Values.persistence.accessMode "ReadWriteOncePod") -}}
{{- fail "several pods at once (replicas, rolling) cannot share a volume with persistence.accessMode ReadWriteOncePod: make it ReadWriteOnce" -}}
{{- end -}}
{{- if not .Values.persistence.enabled -}}
{{- fail "several pods at once (replicas, rolling) need a volume that they share: set persistence.enabled" -}}
{{- end -}}
yes
{{- end -}}
{{- end -}}
